"""`python -m reports bundle` puts results into one file that others can open: numbers, records and ids, no pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import check_output_file, unknown

if TYPE_CHECKING:
    from lactok.evaluation.results import Result

OUT = "results.lactok.zip"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `bundle` to a parser."""
    p.add_argument(
        "names",
        metavar="RUN",
        nargs="*",
        help="folders of results in --runs, or tokenizers or generators, of which all runs are taken (default: all)",
    )
    p.add_argument("--runs", nargs="+", default=["runs"], metavar="DIR", help="folders of results (default: runs)")
    p.add_argument("--out", default=OUT, metavar="FILE", help="the bundle (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the bundle; return 0, or 3 if a result could not be read and is not in it."""
    from lactok.evaluation import bundles
    from lactok.evaluation.result_folders import files_of
    from lactok.evaluation.results import load_results

    check_output_file("out", args.out, bundles.ENDING)
    results = load_results(*args.runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    taken = chosen(results, args.names)
    files = {name: path for result in taken for name, path in files_of(result, result.name, pictures=False)}
    digest = bundles.write(Path(args.out), files)
    size = Path(args.out).stat().st_size
    counted = "1 result" if len(taken) == 1 else f"{len(taken)} results"
    print(f"written: {counted} in {args.out}, {size:,} bytes, sha256 {digest}")
    return 3 if any(line.startswith("left out") for line in results.left_out) else 0


def chosen(results: Sequence[Result], names: Sequence[str]) -> list[Result]:
    """Return the results of these names: each a folder's, or a tokenizer's or generator's; all for no names.

    Raises:
        UnknownName: there is no such result.
    """
    for name in names:
        if not any(name in (result.name, result.label) for result in results):
            raise unknown("run", name, dict.fromkeys([*(r.label for r in results), *(r.name for r in results)]))
    return [result for result in results if not names or result.name in names or result.label in names]
