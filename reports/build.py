"""`python -m reports` writes all tables, figures and the page of stored results; it measures nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import check_output_folder, disk_errors

if TYPE_CHECKING:
    from lactok.evaluation.results import Results
    from reports.tables.cells import Table

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
    p.add_argument(
        "--all-tables", action="store_true", help="the papers' tables too in which nothing is measured: what is missing"
    )
    p.add_argument("--out", default=OUT, help="where tables, figures and the page go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the reports and return 0; results that cannot be read are named on standard error."""
    check_output_folder("out", args.out)
    from lactok.evaluation.results import GenerationResult, load_results
    from lactok.evaluation.subsets import read as read_subsets
    from reports.tables import subsets

    chosen = read_subsets(args.subsets) if args.subsets is not None else None
    results = load_results(*args.runs).without(GenerationResult)  # generated pictures without any score
    for line in results.left_out:
        print(line, file=sys.stderr)
    by_subset = subsets.build(results, chosen) if chosen is not None else []
    write(results, Path(args.out), by_subset, args.all_tables)
    return 0


def write(results: Results, out: Path, more: Sequence[Table] = (), all_papers: bool = False) -> None:
    """Write tables, figures and the page into a folder, and print what is written.

    Args:
        results: the results that they show.
        out: the folder.
        more: tables that are added to the others.
        all_papers: whether the papers' tables in which nothing is measured are written too.

    Raises:
        DiskError: the folder cannot be written to.
    """
    from reports import correlations, figures, page
    from reports.tables import files as tables

    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        tables.build(results, out, more, all_papers)
        print(f"written: tables of {len(results)} results in {out}")
        correlations.build(results, out)
        figures.build(results, out)
        print(f"written: figures of {len(results)} results in {out}")
        page.build(results, out, all_papers)
        print(f"written: page of {len(results)} results in {out}")
