"""`--dry-run`: which stored ids would be probed, and how."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from benchmarks.probe import labels as labelling
from benchmarks.probe.autoregressive import FEWEST, Split
from benchmarks.probe.linear import Classes
from benchmarks.probe.model import parameters
from benchmarks.probe.rows import read
from benchmarks.probe.work import Asked, why_no_classes
from lactok.errors import one_line
from lactok.evaluation.results import ReconResult


def plan(results: Sequence[ReconResult], asked: Asked) -> str:
    """Return a table with a line for each row and what all have in common; nothing is computed.

    Args:
        results: the rows whose stored ids would be probed.
        asked: what is asked of all.
    """
    budget, lines, notes = asked.budget, [], dict[str, None]()
    for result in results:
        row = read(result, budget)
        labels = labelling.of(asked.labels, row.samples)
        classes = Classes.of(labels, row.contents, budget) if labels is not None else None
        why = why_no_classes(asked.labels, classes, budget)
        if why:
            notes[f"No linear probe of {one_line(result.dataset)}: {why}."] = None
        count = len(Split.of(row.contents, budget).training)
        few = len(set(row.contents)) < FEWEST
        passes = "-" if few else f"{budget.steps * budget.step_symbols / (count * row.layout.length):.1f}"
        alphabet = row.layout.alphabet
        written = f"{alphabet.digits} to base {alphabet.base}"
        shown = "-" if why or classes is None else str(classes.different)
        lines.append([result.label, result.dataset, str(result.n), shown, written, str(row.layout.length), passes])
    heads = ["tokenizer", "data set", "photographs", "classes", "digits", "symbols", "passes"]
    table = tabulate(lines, heads, tablefmt="pipe", disable_numparse=True)
    said = (
        f"All alike: {parameters(budget)} parameters, {budget.steps} steps of {budget.step_symbols} symbols; a linear "
        f"probe of {2 * budget.histogram} features, {budget.folds} folds."
    )
    return "\n".join([table, "", said, *notes])
