"""`python -m benchmarks.speed.scale` measures how memory and time grow with the number of photographs.

The photographs are made up, so that any number can be had; each size is measured in a process of its own, from listing
the folder to reading the result. Sizes that stand in the file of `--json` are not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import WrongValue, check_output_file, check_output_folder, disk_errors, integer, whole

LARGEST = 10**6  # photographs


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed.scale",
        description="How memory and time grow with the number of photographs, which are made up.",
    )
    p.add_argument("--photographs", type=Path, metavar="DIR", help="where they are made; those that are there stay")
    p.add_argument("--sizes", default="500,1000,2000,5000", help="numbers of photographs (default: %(default)s)")
    p.add_argument("--tokenizer", default="resize-16", help="what is measured (default: %(default)s)")
    p.add_argument("--metrics", default="psnr,ssim", help="default, all, or keys (default: %(default)s)")
    p.add_argument("--resolution", type=integer, default=256, help="of the reference images (default: %(default)s)")
    p.add_argument("--workers", type=integer, default=1, help="processes that compute (default: %(default)s)")
    p.add_argument("--threads", type=integer, default=1, help="threads of each process (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers here, beside those of other settings")
    p.add_argument("--svg", type=Path, metavar="FILE", help="draw all that stands in the file of --json")
    return p


def sizes_of(text: str) -> list[int]:
    """Return the numbers of photographs that `--sizes` names, each once, in rising order.

    >>> sizes_of("1000,500 500")
    [500, 1000]
    """
    try:
        found = {integer(part) for part in text.replace(",", " ").split()}
    except ValueError:
        raise WrongValue(f"`sizes` {text[:40]}: whole numbers with commas between them, as in 500,1000") from None
    if not found:
        raise WrongValue("`sizes` is empty; name a number of photographs")
    return [whole("sizes", size, 2, LARGEST) for size in sorted(found)]


def stored(path: Path | None) -> list[dict[str, Any]]:
    """Return the series of measurements in a file, none where there is no file; raise WrongValue for another file."""
    if path is None or not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        series = found["series"]
        for each in series:
            assert all(point["photographs"] > 0 for point in each["sizes"])
            assert isinstance(each["settings"], dict)
    except (OSError, ValueError, LookupError, TypeError, AssertionError):
        raise WrongValue(f"`json` {path}: this file is none of this command's; choose another name") from None
    return list(series)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure the sizes that are missing, print the tables, and return 0."""
    args = parser().parse_args(argv)
    sizes = sizes_of(args.sizes)
    whole("workers", args.workers, 1, 1024)
    whole("threads", args.threads, 1, 1024)
    check_output_file("json", args.json, ".json")
    check_output_file("svg", args.svg, ".svg")
    if args.svg is not None and args.json is None:
        raise WrongValue("`svg` draws what stands in the file of `json`; name that too")
    if args.photographs is None:
        raise WrongValue("`photographs` is missing: name a folder where they can be made")
    check_output_folder("photographs", args.photographs)
    from benchmarks.speed.scaling import Series, make_photographs, measure_in_process, table
    from lactok import registry
    from lactok.evaluation import protocol

    registry.tokenizer_spec(args.tokenizer)
    protocol.get("square-256", args.resolution, args.metrics)
    wanted = Series(args.tokenizer, args.metrics, args.resolution, args.workers, args.threads)
    every = stored(args.json)
    own = next((each for each in every if each["settings"] == wanted.settings()), None)
    if own is None:
        own = {"settings": wanted.settings(), "sizes": []}
        every.append(own)
    with disk_errors(args.photographs, "choose another `photographs`"):
        make_photographs(args.photographs, max(sizes))
    for size in sizes:
        if all(point["photographs"] != size for point in own["sizes"]):
            own["sizes"].append(measure_in_process(wanted, args.photographs, size))
            own["sizes"].sort(key=lambda point: point["photographs"])
            keep(every, args.json)
    print(table(wanted, [point for point in own["sizes"] if point["photographs"] in sizes]))
    if args.svg is not None:
        from benchmarks.speed.scale_plot import draw

        with disk_errors(args.svg, "choose another `svg`"):
            draw(every, args.svg)
    return 0


def keep(every: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Write all series where a path is given."""
    from benchmarks.speed.measure import write_numbers

    write_numbers({"series": list(every)}, path)


if __name__ == "__main__":
    main()
