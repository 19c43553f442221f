"""Comparisons for the page: each run of a set with every other one, in a file for each set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from lactok.errors import UserError
from lactok.evaluation.compare import ComparedMetric, Comparison, compare, corrected
from lactok.evaluation.names import EXCHANGED
from lactok.evaluation.results import ReconResult
from reports.page.scripts import Scripts
from reports.page.sets import RunSet

MOST = 50_000  # images of all pairs together; more would make the page slow to build


def write(run_set: RunSet, keys: dict[str, str], scripts: Scripts) -> str | None:
    """Write the comparisons of a set and return the file's name; None where there are none, or they would take long.

    The file holds, by the keys of the first and of the second run, each metric's difference, second minus first, with
    interval and p; p is corrected for all tests with the same first run.

    Args:
        run_set: the runs.
        keys: the name of a run -> its key in the page.
        scripts: writes the file.
    """
    runs = [run for run in run_set.runs if not run.label.endswith(EXCHANGED)]
    images = max(run.n for run in run_set.runs)
    pairs = list(combinations(runs, 2))
    if len(pairs) * images > MOST:
        pairs = [pair for pair in pairs if pair[0] is runs[0]]
    if not pairs or len(pairs) * images > MOST:
        return None
    by_first: dict[str, list[Comparison]] = {}
    for first, second in pairs:
        made = _compared(first, second)
        if made is not None:
            by_first.setdefault(keys[first.name], []).append(made)
            by_first.setdefault(keys[second.name], []).append(_turned(made))
    if not by_first:
        return None
    data = {key: _of_one(made, keys) for key, made in by_first.items()}
    scripts.write(f"compare-{run_set.key}", data)
    return f"compare-{run_set.key}"


def _compared(first: ReconResult, second: ReconResult) -> Comparison | None:
    """Return the comparison of two runs; None where records are missing or no metric is common to both."""
    try:
        return compare(first, second)
    except UserError:
        return None


def _turned(made: Comparison) -> Comparison:
    """Return a comparison with its runs in the other order."""

    def turned(line: ComparedMetric) -> ComparedMetric:
        old = line.difference
        ends = None if old.ci95 is None else [-old.ci95[1], -old.ci95[0]]
        value = None if old.value is None else -old.value
        return replace(line, first=line.second, second=line.first, difference=replace(old, value=value, ci95=ends))

    return replace(made, first=made.second, second=made.first, lines=tuple(turned(line) for line in made.lines))


def _of_one(made: Sequence[Comparison], keys: dict[str, str]) -> dict[str, Any]:
    """Return what the page shows of the comparisons with one first run, by the key of the second."""
    from reports.page.rows import name_of

    return {
        keys[each.second.name]: {
            name_of(each.first.metric(line.metric)): {
                "first": line.first,
                "second": line.second,
                "difference": line.difference.value,
                "ci95": line.difference.ci95,
                "p": line.difference.p,
                "corrected": line.p_corrected,
                "n": line.difference.n,
                "better": line.better,
            }
            for line in each.lines
        }
        for each in corrected(made)
    }
