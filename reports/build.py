"""`python -m reports`: every table, figure and page of stored results. Nothing is measured here."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lactok.errors import disk_errors

RUNS, OUT = "runs", "reports/build"

# module -> what `build(results, out)` of it writes; those that are not installed are left out
PARTS = {"reports.tables": "tables", "reports.figures": "figures", "reports.page": "page"}


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--runs", default=RUNS, help="folder of results, as the suites' --out (default: %(default)s)")
    p.add_argument("--out", default=OUT, help="where tables, figures and the page go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    from reports import stored

    results = stored.read(args.runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    out = Path(args.out)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for what, build in parts():
            build(results, out)
            print(f"written: {what} of {len(results)} results in {out}")
    return 0


def parts() -> Iterator[tuple[str, Callable[..., object]]]:
    for module, what in PARTS.items():
        if importlib.util.find_spec(module) is not None:
            yield what, importlib.import_module(module).build
