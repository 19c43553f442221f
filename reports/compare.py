"""`python -m reports compare RUN RUN [RUN ...]` compares runs with a first one, paired over the images of both."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError, check_output_file, disk_errors, one_line

if TYPE_CHECKING:
    from lactok.evaluation.compare import Comparison

LEVEL = 0.05  # below which a reader takes a p-value for a difference


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare` to a parser."""
    about = (
        "a result folder, its name in --runs, or a tokenizer or generator: of its runs the one that has its data and "
        "protocol in common with the other RUN"
    )
    p.add_argument("first", metavar="RUN", help=about)
    p.add_argument("second", metavar="RUN", help="the same; differences are this one minus the first")
    p.add_argument("more", metavar="RUN", nargs="*", help="further runs to compare with the first")
    p.add_argument("--runs", default="runs", help="folder of results (default: %(default)s)")
    p.add_argument("--dataset", metavar="NAME", help="the data set of the runs that tokenizers' names mean")
    p.add_argument("--json", metavar="FILE", help="also write the comparison, all digits kept")


def run(args: argparse.Namespace) -> int:
    """Print the comparison and return 0."""
    check_output_file("json", args.json)
    from lactok.evaluation.compare import compare, corrected
    from lactok.evaluation.older_results import older_version_lines
    from reports.stored_runs import find

    runs = find([args.first, args.second, *args.more], args.runs, dataset=args.dataset)
    folders = [run.folder.resolve() for run in runs]
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UserError(f"{runs[place].name} is named twice; name {'two runs' if len(runs) == 2 else 'it once'}")
    compared = corrected([compare(runs[0], run) for run in runs[1:]])
    for line in older_version_lines(runs):
        print(line, file=sys.stderr)
    tests = sum(_tests(each) for each in compared)
    print("\n\n".join(text(each, len(compared), tests) for each in compared))
    if args.json:
        from lactok.evaluation.writing import to_json
        from lactok.files import write_atomically

        every = [each.as_data() for each in compared]
        data = every[0] if len(every) == 1 else {"schema": 1, "comparisons": every}
        with disk_errors(args.json, "choose another --json"):
            write_atomically(Path(args.json), to_json(data))
    return 0


def _tests(compared: Comparison) -> int:
    """Return the number of p-values of a comparison."""
    return sum(line.difference.p is not None for line in compared.lines)


def text(compared: Comparison, tables: int, tests: int) -> str:
    """Return the comparison as Markdown: how the runs' conditions differ, then a line for each metric, then notes.

    Args:
        compared: the comparison.
        tables: the number of comparisons over which p-values are corrected.
        tests: the number of p-values in all of them.
    """
    from tabulate import tabulate

    from lactok.evaluation.statistics import LEAST_P

    def escape(cell: str) -> str:
        return one_line(cell, None).replace("|", "\\|")

    parts = [f"first: {escape(compared.first.name)}\nsecond: {escape(compared.second.name)}"]
    rows = [[escape(cell) for cell in change] for change in compared.changes]
    if rows:
        heads = ["differs", "first", "second"]
        parts.append(str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)))
    alone = "the test" if tests == 1 else f"the {tests} tests"
    over = f"all {tests} tests of these {tables} tables" if tables > 1 else f"{alone} of this table"
    notes = [
        "Intervals are 95 % intervals of the mean of paired differences; p is of the permutation test that flips their "
        f"signs, p corrected is for {over} together (Holm 1979); better: zero lies outside the interval.",
        "detectable: the smallest true difference that so many images show with a probability of 80 %, at 5 %.",
    ]
    if tests * LEAST_P > LEVEL:
        notes.append(
            f"p by flipping signs is {LEAST_P:g} at least, so of more than {LEVEL / LEAST_P:.0f} tests p corrected may "
            f"stay above {LEVEL:g} however large a difference is; compare fewer runs at a time."
        )
    lines = {line.metric: line.difference for line in compared.lines}
    sets = [key for key in lines if _is_distance(compared, key)]
    if any(lines[key].ci95 is not None for key in sets):
        notes.append(
            "For distances of sets, interval and p are by the jackknife: both are computed anew without the same "
            "groups of images."
        )
    if any(lines[key].ci95 is None for key in sets):
        notes.append("Distances of sets of few images, or stored by an earlier version, have no interval.")
    if any(difference.ci95 is None for key, difference in lines.items() if key not in sets):
        notes.append("A single pair has no interval.")
    notes += [escape(note) for note in compared.notes]
    return "\n\n".join([*parts, compared.table(), "\n".join(notes)])


def _is_distance(compared: Comparison, key: str) -> bool:
    """Return whether a metric is a distance of sets: no column of the records."""
    return compared.first.suite == "recon" and key not in compared.first.records.columns
