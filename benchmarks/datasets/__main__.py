"""`python -m benchmarks.datasets list | check | fetch | make NAME`: the data sets that suites measure on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import WrongValue, check_output_folder
from lactok.evaluation.config import Settings
from lactok.evaluation.options import add_options
from lactok.evaluation.published_sets import PUBLISHED


def parser() -> Parser:
    """Return the parser of the four subcommands."""
    root = Parser(
        prog="python -m benchmarks.datasets",
        description="Data sets: list, check, fetch, make.",
        examples={"where they are": "list", "whether one is right": "check coco", "get it": "fetch coco"},
    )
    actions = root.add_subparsers(dest="action", required=True)
    where: dict[str, Any] = {
        "metavar": "DIR",
        "help": "folder with a folder for each published set (default: LACTOK_DATA, or ./data)",
    }

    sub = actions.add_parser("list", help="every published set: images, size, licence, where it is or would be")
    sub.add_argument("--data", **where)

    sub = actions.add_parser("check", help="whether a set is here and is the published one: names, numbers, headers")
    sub.add_argument("name", help=f"{', '.join(PUBLISHED)}, or anything else that --dataset takes")
    sub.add_argument("--data", **where)
    sub.add_argument("--contents", action="store_true", help="read every image, and print the digest of all of them")

    sub = actions.add_parser("fetch", help="download a set; a broken transfer goes on where it was")
    sub.add_argument(
        "name", choices=tuple(PUBLISHED), metavar="NAME", help="coco or mjhq; of others it says what to do"
    )
    sub.add_argument("--data", **where)

    sub = actions.add_parser("make", help="make FLUX-5K anew with FLUX.1-dev; run again to go on")
    sub.add_argument("name", choices=("flux5k",), metavar="NAME", help="flux5k")
    sub.add_argument("--data", **where)
    sub.add_argument(
        "--generator", metavar="NAME", help="another one, to try the recipe: the result is no flux5k (flux.1-dev)"
    )
    names = ("device", "dtype", "part", "limit", "batch_size", "workers", "weights")
    add_options(
        sub,
        *names,
        dtype={"default": "bfloat16", "help": "compute dtype; another one makes no flux5k (default: %(default)s)"},
        limit={"help": "make the pictures of N prompts only, a fixed random choice, to go on with later"},
    )
    return root


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen subcommand and return 0."""
    args = parser().parse_args(argv)
    if args.data == "":
        raise WrongValue("`data` is empty; leave it out for the default")
    data = None if args.data is None else Path(args.data)
    if args.action == "list":
        from benchmarks.datasets.listing import listed

        print(listed(data))
        return 0
    if args.action == "check":
        from benchmarks.datasets.checking import checked

        print(checked(args.name, data, args.contents))
        return 0
    from lactok.evaluation.datasets import data_folder

    root = data_folder(args.name, data)
    check_output_folder("data", root)
    if args.action == "fetch":
        from benchmarks.datasets.fetching import fetch

        print(fetch(args.name, root))
        return 0
    settings = Settings.of(vars(args) | {"out": root, "seed": 0})
    settings.check()
    settings.use_machine()
    from benchmarks.datasets.making import make

    print(make(root, data_folder("coco", data), settings, args.generator))
    return 0


if __name__ == "__main__":
    main()
