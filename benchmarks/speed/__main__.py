"""`python -m benchmarks.speed` measures time, throughput, parameters, FLOPs and peak memory of tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks.speed.measure import Conditions
from lactok.command import Parser, as_flags, command, given, refuse_beside
from lactok.errors import check_output_file, integer
from lactok.evaluation.config import split_names
from lactok.evaluation.options import add_options


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed",
        description="Speed and size of tokenizers.",
        examples={
            "times and memory of two": '--tokenizers "titok-s128-tiny llamagen-vq16-tiny"',
            "parameters, FLOPs and sizes, without weights": "--tokenizers all --sizes",
        },
    )
    p.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @, or all")
    add_options(
        p,
        "batch_size",
        "resolution",
        "device",
        "dtype",
        "weights",
        batch_size={"help": "images at a time (default: %(default)s)"},
        resolution={"default": 256, "help": "for rows without a size of their own (default: %(default)s)"},
        weights={"type": Path},
    )
    p.add_argument(
        "--repeats",
        type=integer,
        default=5,
        help="timed calls after one to warm up; the median counts; 0 times the first call itself",
    )
    p.add_argument("--sizes", action="store_true", help="run nothing: parameters, FLOPs and what the weights need")
    p.add_argument("--random", action="store_true", help="random weights where the real ones are missing")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 3 if a tokenizer that was asked for by name could not be measured."""
    own = parser()
    args = own.parse_args(argv)
    unused = ("batch_size", "resolution", "dtype", "weights", "repeats", "random")
    refuse_beside("sizes", unused, given(own, argv), "which runs nothing")
    check_output_file("json", args.json, ".json")
    from lactok import registry
    from lactok.device import check_device

    how = Conditions(**{f.name: getattr(args, f.name) for f in fields(Conditions)})
    how.check()
    names = registry.list_tokenizers() if args.tokenizers == "all" else split_names(args.tokenizers)
    for name in names:
        registry.TOKENIZERS.check_name(name)
    check_device(how.device)
    from benchmarks.speed.measure import measure_all, table, write_numbers

    rows, missing = measure_all(names, how)
    print(table(rows, how))
    for name, reason in missing.items():
        print(f"not measured: {name}: {as_flags(reason)}")
    write_numbers(rows, args.json)
    return 3 if missing and args.tokenizers != "all" else 0


if __name__ == "__main__":
    main()
