"""Take the measured number of a cell from a run, and tell which numbers of two runs differ for certain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lactok.errors import UserError
from lactok.evaluation.compare import paired_images, set_difference
from lactok.evaluation.results import PicturesResult, ReconResult, Result
from lactok.evaluation.statistics import mean_with_interval, smallest_difference
from lactok.evaluation.table import decimals, why_missing
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
    outside the interval of the paired differences, image by image or, for distances of sets, by groups of images. A
    distance of too few images differs from no other; distances without intervals differ where their values do, if they
    are of enough images. Seconds of different machines are not compared at all.

    Args:
        a: the first number.
        b: the second number.
        run: the run of the first number, or None.
        other: the run of the second number, or None.
        metric: the key of their metric.
    """
    if a.value == b.value or metric == SECONDS.key:
        return False
    if not (a.reliable and b.reliable):
        return False
    if a.ci95 is None or b.ci95 is None:
        return min(a.n, b.n) >= SINGULAR_BELOW
    if a.ci95[1] < b.ci95[0] or b.ci95[1] < a.ci95[0]:
        return True
    if not (isinstance(run, ReconResult) and isinstance(other, ReconResult)):
        return False
    try:
        pairs = paired_images(run, other)
    except UserError:  # one has no records, and the intervals overlap
        return False
    if f"{metric}_first" not in pairs:
        difference = set_difference(run[metric], other[metric]) if len(pairs) == run.n == other.n else None
        return difference is not None and difference.is_apart
    values = (pairs[f"{metric}_second"] - pairs[f"{metric}_first"]).dropna().to_numpy("float64")
    interval = mean_with_interval(values)[1]
    return interval is not None and not interval[0] <= 0 <= interval[1]


def detectable_notes(runs: Sequence[ReconResult], metrics: Sequence[Metric]) -> list[str]:
    """Return the note that says how small a difference of two rows these images can show; none where it is not known.

    It is the median over rows that follow each other; rows of exact copies, which differ in nothing, do not count.

    Args:
        runs: the rows, of the same images.
        metrics: the columns.
    """
    found: dict[str, list[float]] = {metric.key: [] for metric in metrics}
    for first, second in pairwise(runs):
        try:
            pairs = paired_images(first, second)
        except UserError:  # without records there are no pairs
            continue
        for key, known in found.items():
            smallest = None
            if f"{key}_first" in pairs:
                differences = (pairs[f"{key}_second"] - pairs[f"{key}_first"]).to_numpy("float64", na_value=np.nan)
                smallest = smallest_difference(differences[np.isfinite(differences)])
            elif key in first.metrics and key in second.metrics and len(pairs) == first.n == second.n:
                difference = set_difference(first[key], second[key])
                smallest = None if difference is None else difference.detectable
            if smallest:
                known.append(smallest)
    said = [f"{m.title} {_digits(float(np.median(found[m.key])) * m.scale, m)}" for m in metrics if found[m.key]]
    if not said:
        return []
    return [
        f"The smallest difference of two rows that these images show with a probability of 80 %: {', '.join(said)}."
    ]


def _digits(value: float, metric: Metric) -> str:
    """Return a small difference with one digit more than the metric's own values."""
    return decimals(value, metric.digits + 1)
