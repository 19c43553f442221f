"""`python -m reports table --runs A B --columns psnr,rfid` writes the table that goes into a paper."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lactok.errors import UserError, WrongValue, check_output_file, disk_errors

FORMATS = {"tex": ".tex", "md": ".md", "csv": ".csv"}


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `table` to a parser."""
    p.add_argument(
        "--runs",
        nargs="+",
        default=["runs"],
        metavar="RUN",
        help="the rows in their order: result folders, their names in --results, or tokenizers; or one folder of "
        "results for all of its runs of one data set (default: runs)",
    )
    p.add_argument("--results", default="runs", metavar="DIR", help="where names are looked up (default: %(default)s)")
    p.add_argument("--dataset", metavar="NAME", help="the data set of the rows, where there are runs of several")
    p.add_argument(
        "--columns",
        metavar="a,b,...",
        help="the columns in their order: tokens, codes, bits, bpp, usage, decode, n, and metrics such as "
        "psnr,lpips_alex,rfid (default: tokens, bits and every metric that all rows have)",
    )
    p.add_argument("--names", metavar="A,B,...", help="names of the rows instead of the tokenizers'")
    p.add_argument("--intervals", action="store_true", help="half the 95%% interval after each value")
    p.add_argument("--format", choices=FORMATS, help="tex is booktabs (default: by the ending of --out, or md)")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the table there instead of printing it")


def run(args: argparse.Namespace) -> int:
    """Print or write the table and return 0."""
    check_output_file("out", args.out)
    kind = args.format or format_of(args.out)
    from lactok.evaluation.older_results import older_version_lines
    from lactok.files import write_atomically
    from reports.tables import chosen

    runs = chosen.rows(args.runs, args.results, args.dataset)
    for line in older_version_lines(runs):
        print(line, file=sys.stderr)
    names = None if args.names is None else listed(args.names, "names")
    columns = None if args.columns is None else listed(args.columns, "columns")
    text = chosen.text(chosen.build(runs, columns, names, args.intervals), kind)
    if args.out is None:
        print(text, end="")
        return 0
    with disk_errors(args.out, "choose another --out"):
        write_atomically(args.out, text.encode())
    print(f"written: {args.out}, {len(runs)} rows")
    return 0


def format_of(out: Path | None) -> str:
    """Return the format that a file's ending asks for; Markdown for what is printed.

    Raises:
        UserError: no format has this ending.
    """
    if out is None:
        return "md"
    for kind, ending in FORMATS.items():
        if out.suffix.lower() == ending:
            return kind
    raise UserError(f"--out {out}: a .tex, .md or .csv file; or name the format: --format tex")


def listed(text: str, argument: str) -> list[str]:
    """Return the parts of a list with commas; raise WrongValue where it is empty."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise WrongValue(f"`{argument}` is empty; name some, or leave it out")
    return parts
