"""Take the measured number of a cell from a run, and tell which numbers of two runs differ for certain."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.errors import UserError
from lactok.evaluation.compare import paired_images
from lactok.evaluation.results import PicturesResult, ReconResult, Result
from lactok.evaluation.statistics import mean_with_interval
from lactok.evaluation.table import why_missing
from lactok.metrics.frechet import SINGULAR_BELOW
from lactok.metrics.registry import Metric
from reports.tables.cells import Column, Measured, Table, marked

SECONDS = Metric("seconds", "seconds", higher=False, digits=2)  # an image of a generator; no result has it as a metric


def measure(run: Result, column: Column, remedy: str = "") -> tuple[Measured | None, str]:
    """Return a run's number and "", or None and why it has none; `remedy` says how to get it."""
    if column.key == SECONDS.key and isinstance(run, PicturesResult):
        seconds = run.seconds_per_image
        if seconds is None:
            return None, f"not measured: {run.name} has no times of its pictures beside it"
        return Measured(seconds, None, run.timed_images), ""
    entry = run.metrics.get(column.key)
    if entry is None:
        reason = f"not measured: {run.name} has no {column.title}"
        return None, f"{reason}; {remedy}" if remedy else reason
    if entry.value is None:
        return None, why_missing(entry)
    low_high = (float(entry.ci95[0]), float(entry.ci95[1])) if entry.ci95 else None
    return Measured(float(entry.value), low_high, entry.n, entry.reliable is not False), ""


def with_marks(table: Table, runs: Sequence[Result | None]) -> Table:
    """Return the table with its best and second best numbers marked; `runs` has the run of each row, or None."""

    def apart(i: int, j: int, column: Column) -> bool:
        c = table.columns.index(column)
        first, second = table.rows[i].cells[c].measured, table.rows[j].cells[c].measured
        assert first is not None, "only measured cells are compared"
        assert second is not None, "only measured cells are compared"
        return differ(first, second, runs[i], runs[j], column.key)

    return marked(table, apart)


def differ(a: Measured, b: Measured, run: Result | None, other: Result | None, metric: str) -> bool:
    """Return whether two measured numbers differ by more than chance explains.

    They do where their 95 % intervals do not overlap; for two reconstruction runs with records, also where zero lies
    outside the interval of the paired differences, image by image. Distances of sets have no interval: they differ
    where their values do, unless one is of too few images. Seconds of different machines are not compared at all.

    Args:
        a: the first number.
        b: the second number.
        run: the run of the first number, or None.
        other: the run of the second number, or None.
        metric: the key of their metric.
    """
    if a.value == b.value or metric == SECONDS.key:
        return False
    if a.ci95 is None or b.ci95 is None:
        return min(a.n, b.n) >= SINGULAR_BELOW and a.reliable and b.reliable
    if a.ci95[1] < b.ci95[0] or b.ci95[1] < a.ci95[0]:
        return True
    if not (isinstance(run, ReconResult) and isinstance(other, ReconResult)):
        return False
    try:
        pairs = paired_images(run, other)
    except UserError:  # one has no records, and the intervals overlap
        return False
    if f"{metric}_first" not in pairs:
        return False
    values = (pairs[f"{metric}_second"] - pairs[f"{metric}_first"]).dropna().to_numpy("float64")
    interval = mean_with_interval(values)[1]
    return interval is not None and not interval[0] <= 0 <= interval[1]
