"""`python -m reports compare RUN RUN`: two runs, paired over the images that both have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, disk_errors, unknown

if TYPE_CHECKING:
    from lactok.evaluation.compare import Line
    from reports.stored import Stored


def add_arguments(p: argparse.ArgumentParser) -> None:
    about = "a result folder, its name in --runs, or the name of a tokenizer or generator that has one run there"
    p.add_argument("first", metavar="RUN", help=about)
    p.add_argument("second", metavar="RUN", help="the same; differences are this one minus the first")
    p.add_argument("--runs", default="runs", help="folder of results (default: %(default)s)")
    p.add_argument("--json", metavar="FILE", help="also write the comparison, all digits kept")


def run(args: argparse.Namespace) -> int:
    from lactok.evaluation import compare

    first, second = (find(name, args.runs) for name in (args.first, args.second))
    if first.folder.resolve() == second.folder.resolve():
        raise UserError(f"{first.name} is named twice; name two runs")
    lines, notes = compare.compare(first, second)
    if not lines:
        raise UserError(f"{first.name} and {second.name} have no metric in common; run both with the same --metrics")
    changes = list(compare.differences(first, second))
    print(text(first, second, lines, notes, changes))
    if args.json:
        from lactok.evaluation.results import to_json
        from lactok.evaluation.store import write_atomically

        with disk_errors(args.json, "choose another --json"):
            write_atomically(Path(args.json), to_json(as_data(first, second, lines, notes, changes)))
    return 0


def find(name: str, runs: str) -> Stored:
    """A stored result by folder, by its name in `runs`, or by what was measured where that is one run.

    Raises:
        UserError: none, several or a damaged one.
    """
    from reports import stored

    for folder in (Path(name), Path(runs) / name):
        if (folder / "result.json").is_file():
            try:
                return stored.load(folder.resolve())
            except stored.Damaged as error:
                raise UserError(f"{folder}: {error}; run the command that made it again") from error
    if Path(name).is_dir():
        raise UserError(f"{name} is no result folder: there is no result.json")
    found = stored.read(runs)
    everything = [*found.recon, *found.geneval, *found.preference]
    labelled = [r for r in everything if r.label == name]
    if len(labelled) > 1:
        raise UserError(f"{name} has several runs, name one: {', '.join(r.name for r in labelled)}")
    if not labelled:
        raise unknown("run", name, [r.name for r in everything])
    return labelled[0]


def text(
    first: Stored, second: Stored, lines: list[Line], notes: list[str], changes: list[tuple[str, str, str]]
) -> str:
    """Markdown: what differs, then a line a metric."""
    from tabulate import tabulate

    from reports.tables.formats import plain

    def escape(outside: str) -> str:
        return plain(outside).replace("|", "\\|")

    pipe = {"tablefmt": "pipe", "disable_numparse": True}
    rows = [[escape(c) for c in change] for change in changes]
    parts = [f"first: {escape(first.name)}\nsecond: {escape(second.name)}"]
    if rows:
        parts.append(str(tabulate(rows, ["differs", "first", "second"], **pipe)))
    heads = ["metric", "first", "second", "second - first", "95 % interval", "p", "n", "better"]
    align = ["left"] + ["right"] * 6 + ["left"]
    parts.append(str(tabulate([_row(line) for line in lines], heads, colalign=align, **pipe)))
    said = [
        "Intervals are 95 % bootstrap intervals of the mean of paired differences; p is of the permutation test that "
        "flips their signs; better: zero lies outside the interval."
    ]
    if any(line.difference.ci95 is None for line in lines):
        said.append("Distances of sets have no interval, and nor has a single pair.")
    return "\n\n".join([*parts, "\n".join([*said, *(escape(note) for note in notes)])])


def _row(line: Line) -> list[str]:
    from lactok.evaluation.table import DIGITS, TITLES
    from reports.tables.formats import plain

    d, factor, digits = line.difference, 1000 if line.metric == "kid" else 1, DIGITS.get(line.metric, 3)
    digits += 1  # differences are smaller than what they are of

    def number(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{value * factor:{sign}.{digits}f}"

    interval = f"{number(d.ci95[0], '+')} to {number(d.ci95[1], '+')}" if d.ci95 else "-"
    p = "-" if d.p is None else "< 0.001" if d.p < 0.001 else f"{d.p:.3f}"
    name = TITLES.get(line.metric, line.metric) + (" ↑" if line.higher else " ↓")
    values = [number(line.first), number(line.second), number(d.value, "+")]
    return [plain(name).replace("|", "\\|"), *values, interval, p, str(d.n), line.better or "-"]


def as_data(
    first: Stored, second: Stored, lines: list[Line], notes: list[str], changes: list[tuple[str, str, str]]
) -> dict[str, Any]:
    metrics = {
        line.metric: {
            "first": line.first, "second": line.second, "higher_is_better": line.higher, "better": line.better,
            "difference": line.difference.value, "ci95": line.difference.ci95, "p": line.difference.p,
            "n": line.difference.n,
        }
        for line in lines
    }  # fmt: skip
    differs = [{"what": what, "first": a, "second": b} for what, a, b in changes]
    runs = {"first": first.name, "second": second.name}
    return {"schema": 1, **runs, "differs": differs, "metrics": metrics, "notes": notes}
