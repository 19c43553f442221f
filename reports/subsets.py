"""`python -m reports subsets FILE` shows stored results by subset of their images, such as those with people."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lactok.errors import check_output_file, disk_errors


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `subsets` to a parser."""
    p.add_argument(
        "subsets",
        metavar="FILE",
        help="COCO's instances_val2017.json, a JSON file {subset: [names of images]}, or the word folders",
    )
    p.add_argument("--runs", default="runs", help="folder of results (default: %(default)s)")
    p.add_argument("--json", metavar="FILE", help="also write the tables, all digits kept")


def run(args: argparse.Namespace) -> int:
    """Print the tables and return 0; results that cannot be read are named on standard error."""
    check_output_file("json", args.json)
    from lactok.evaluation.results import load_results
    from lactok.evaluation.subsets import read
    from reports.tables import formats
    from reports.tables.subsets import build

    subsets = read(args.subsets)
    results = load_results(args.runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    tables = build(results, subsets)
    print("\n".join(formats.markdown(table) for table in tables).rstrip())
    if args.json:
        from lactok.files import write_atomically

        with disk_errors(args.json, "choose another --json"):
            write_atomically(Path(args.json), formats.json_text(tables).encode())
    return 0
