"""From a run to the measured number of a cell, and which of two runs' numbers differ for certain."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.errors import UserError
from lactok.evaluation.compare import paired_images
from lactok.evaluation.results import ReconResult, Result
from lactok.evaluation.statistics import mean_with_interval
from lactok.metrics.frechet import SINGULAR_BELOW
from reports.tables.cells import Column, Measured, Table, marked


def measure(run: Result, column: Column, again: str = "") -> tuple[Measured | None, str]:
    """A run's number, or why it has none; `again` says how to get it."""
    entry = run.metrics.get(column.key)
    if entry is None:
        return None, f"not measured: {run.name} has no {column.title}" + (f"; {again}" if again else "")
    if entry.value is None:
        return None, f"could not be computed from {entry.n} images"
    low_high = (float(entry.ci95[0]), float(entry.ci95[1])) if entry.ci95 else None
    return Measured(float(entry.value), low_high, entry.n, entry.reliable is not False), ""


def with_marks(table: Table, runs: Sequence[Result | None]) -> Table:
    """The table with its best and second best marked; `runs` are those of its rows."""

    def apart(i: int, j: int, column: Column) -> bool:
        c = table.columns.index(column)
        a, b = table.rows[i].cells[c].measured, table.rows[j].cells[c].measured
        assert a is not None, "only measured cells are compared"
        assert b is not None, "only measured cells are compared"
        return differ(a, b, runs[i], runs[j], column.key)

    return marked(table, apart)


def differ(a: Measured, b: Measured, run: Result | None, other: Result | None, metric: str) -> bool:
    """Whether two measurements differ beyond their 95 % intervals.

    Of two reconstruction runs with records it is the interval of the paired differences, image by image. Distances of
    sets have no interval: they differ where their values do, but never where they are of too few images.
    """
    if a.value == b.value:
        return False
    if a.ci95 is None or b.ci95 is None:
        return min(a.n, b.n) >= SINGULAR_BELOW and a.reliable and b.reliable
    if a.ci95[1] < b.ci95[0] or b.ci95[1] < a.ci95[0]:
        return True
    if not (isinstance(run, ReconResult) and isinstance(other, ReconResult)):
        return False
    try:
        pairs = paired_images(run, other)
    except UserError:  # without records there are the intervals alone, and these overlap
        return False
    if f"{metric}_first" not in pairs:
        return False
    values = (pairs[f"{metric}_second"] - pairs[f"{metric}_first"]).dropna().to_numpy("float64")
    interval = mean_with_interval(values)[1]
    return interval is not None and not interval[0] <= 0 <= interval[1]
