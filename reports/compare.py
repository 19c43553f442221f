"""`python -m reports compare RUN RUN` compares two runs, paired over the images that both have."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import MissingFile, UserError, check_output_file, disk_errors, one_line, unknown
from lactok.files import is_file, is_folder
from lactok.outside_text import shown

if TYPE_CHECKING:
    from lactok.evaluation.compare import Comparison
    from lactok.evaluation.results import Result


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare` to a parser."""
    about = "a result folder, its name in --runs, or the name of a tokenizer or generator that has one run there"
    p.add_argument("first", metavar="RUN", help=about)
    p.add_argument("second", metavar="RUN", help="the same; differences are this one minus the first")
    p.add_argument("--runs", default="runs", help="folder of results (default: %(default)s)")
    p.add_argument("--json", metavar="FILE", help="also write the comparison, all digits kept")


def run(args: argparse.Namespace) -> int:
    """Print the comparison and return 0."""
    check_output_file("json", args.json)
    from lactok.evaluation.compare import compare
    from lactok.evaluation.results import older_version_lines

    first, second = (find(name, args.runs) for name in (args.first, args.second))
    if first.folder.resolve() == second.folder.resolve():
        raise UserError(f"{first.name} is named twice; name two runs")
    compared = compare(first, second)
    for line in older_version_lines([first, second]):
        print(line, file=sys.stderr)
    print(text(compared))
    if args.json:
        from lactok.evaluation.writing import to_json
        from lactok.files import write_atomically

        with disk_errors(args.json, "choose another --json"):
            write_atomically(Path(args.json), to_json(compared.as_data()))
    return 0


def find(name: str, runs: str) -> Result:
    """Return a stored result.

    Args:
        name: its folder, its folder's name in `runs`, or the tokenizer or generator, where that has one run in `runs`.
        runs: the folder of results.

    Raises:
        UserError: there is no such result, there are several, or it is damaged.
    """
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import GenerationResult, load, load_results

    for folder in (Path(name), Path(runs) / name):
        if is_file(folder / "result.json"):
            try:
                return load(folder.resolve())
            except Damaged as error:
                raise UserError(f"{folder}: {error}; run the command that made it again") from error
    if is_folder(Path(name)):
        raise UserError(f"{name} is no result folder: there is no result.json")
    if "/" in name or not is_folder(Path(runs)):
        raise MissingFile(
            f"RUN {shown(name, 200)}: no folder of a result, neither here nor in --runs {shown(runs, 200)}; "
            "name the folder that holds the run's result.json"
        )
    found = load_results(runs).without(GenerationResult)
    labelled = [r for r in found if r.label == name]
    if len(labelled) > 1:
        raise UserError(f"{name} has several runs, name one: {', '.join(r.name for r in labelled)}")
    if not labelled:
        raise unknown("run", name, [r.name for r in found])
    return labelled[0]


def text(compared: Comparison) -> str:
    """Return the comparison as Markdown: how the runs' conditions differ, then a line for each metric, then notes."""
    from tabulate import tabulate

    def escape(cell: str) -> str:
        return one_line(cell, None).replace("|", "\\|")

    parts = [f"first: {escape(compared.first.name)}\nsecond: {escape(compared.second.name)}"]
    rows = [[escape(cell) for cell in change] for change in compared.changes]
    if rows:
        heads = ["differs", "first", "second"]
        parts.append(str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)))
    notes = [
        "Intervals are 95 % bootstrap intervals of the mean of paired differences; p is of the permutation test that "
        "flips their signs; better: zero lies outside the interval."
    ]
    if any(line.difference.ci95 is None for line in compared.lines):
        notes.append("Distances of sets have no interval, and nor has a single pair.")
    notes += [escape(note) for note in compared.notes]
    return "\n\n".join([*parts, compared.table(), "\n".join(notes)])
