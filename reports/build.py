"""`python -m reports` writes all tables, figures and the page of stored results; it measures nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lactok.errors import check_output_folder, disk_errors

RUNS, OUT = "runs", "reports/build"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `build` to a parser."""
    p.add_argument(
        "--runs",
        nargs="+",
        default=[RUNS],
        metavar="DIR",
        help=f"folders of results, as the suites' --out, and bundles of others (default: {RUNS})",
    )
    p.add_argument(
        "--subsets",
        metavar="FILE",
        help="also a table by subset of the images: COCO's instances_val2017.json, a JSON file {subset: [names of "
        "images]}, or the word folders",
    )
    p.add_argument("--out", default=OUT, help="where tables, figures and the page go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the reports and return 0; results that cannot be read are named on standard error."""
    check_output_folder("out", args.out)
    from lactok.evaluation.results import GenerationResult, load_results
    from lactok.evaluation.subsets import read as read_subsets
    from reports import figures, page
    from reports.tables import files as tables
    from reports.tables import subsets

    chosen = read_subsets(args.subsets) if args.subsets is not None else None
    results = load_results(*args.runs).without(GenerationResult)  # generated pictures without any score
    for line in results.left_out:
        print(line, file=sys.stderr)
    by_subset = subsets.build(results, chosen) if chosen is not None else []
    out = Path(args.out)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        tables.build(results, out, by_subset)
        print(f"written: tables of {len(results)} results in {out}")
        for name, part in (("figures", figures), ("page", page)):
            part.build(results, out)
            print(f"written: {name} of {len(results)} results in {out}")
    return 0
