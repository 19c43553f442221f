"""`python -m reports` writes all tables, figures and the page of stored results; it measures nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lactok.errors import check_output_folder, disk_errors

RUNS, OUT = "runs", "reports/build"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `build` to a parser."""
    p.add_argument("--runs", default=RUNS, help="folder of results, as the suites' --out (default: %(default)s)")
    p.add_argument("--out", default=OUT, help="where tables, figures and the page go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the reports and return 0; results that cannot be read are named on standard error."""
    check_output_folder("out", args.out)
    from lactok.evaluation.results import GenerationResult, load_results
    from reports import figures, page
    from reports.tables import files as tables

    results = load_results(args.runs).without(GenerationResult)  # generated pictures without any score
    for line in results.left_out:
        print(line, file=sys.stderr)
    out = Path(args.out)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, part in (("tables", tables), ("figures", figures), ("page", page)):
            part.build(results, out)
            print(f"written: {name} of {len(results)} results in {out}")
    return 0
