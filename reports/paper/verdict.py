"""Decide claims: compare the stored results of the systems that a claim names, and sum the comparisons up.

A difference is paired over the images (or prompts) that both results have, with its 95 % interval; of rFID the interval
is that of the jackknife over groups of images. This is what `python -m reports compare` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks import published
from lactok.errors import UserError, first_few
from lactok.evaluation.compare import ComparedMetric, compare
from lactok.evaluation.results import PicturesResult, Result
from lactok.evaluation.statistics import Difference, holm
from lactok.metrics.registry import Metric
from reports.paper.claims import Claim, Test
from reports.paper.systems import INSTEAD, Found, printed_key
from reports.tables.measured import SECONDS

HOLDS, FAILS, INSIDE, UNDECIDED = "holds", "does not hold", "inside the interval", "not decided"
VERDICTS = (HOLDS, FAILS, INSIDE, UNDECIDED)
SECONDS_MARGIN = 0.2  # seconds have no interval: a smaller difference, as a share of the larger one, counts as none


@dataclass(frozen=True)
class Printed:
    """A pair of published numbers.

    Attributes:
        table: the name of the published table.
        column: its column.
        first, second: the numbers of the two systems.
    """

    table: str
    column: str
    first: float
    second: float


@dataclass(frozen=True)
class Line:
    """A comparison of two models in one metric on one data set.

    Attributes:
        first, second: the models' names here, or the paper's where no model stands for the system.
        place: where they are measured.
        metric: the metric.
        printed: the published numbers of the two systems in the tables that this stands for.
        verdict: of `VERDICTS`, whether the claim's direction is seen in this metric.
        reason: why it is not decided, "" where it is.
        compared: the values and their difference (second minus first), None where there are none.
        margin: how far apart comparable values may be; None for a claim that one is better.
    """

    first: str
    second: str
    place: str
    metric: Metric
    printed: tuple[Printed, ...]
    verdict: str = UNDECIDED
    reason: str = ""
    compared: ComparedMetric | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Decision:
    """A claim with what decides it.

    Attributes:
        claim: the claim.
        lines: its comparisons.
        verdict: of `VERDICTS`.
        reason: the counts of the comparisons by their verdicts, or why the claim is not decided.
    """

    claim: Claim
    lines: tuple[Line, ...]
    verdict: str
    reason: str


def decide(claims: Sequence[Claim], found: Found) -> list[Decision]:
    """Return each claim with its comparisons and its verdict; p-values are corrected over the comparisons of all."""
    lines = [[line for test in claim.tests for line in _lines(claim, test, found)] for claim in claims]
    every = [line for own in lines for line in own]
    p_values = [line.compared.difference.p if line.compared else None for line in every]
    corrected = iter(holm(p_values))
    decisions = []
    for claim, own in zip(claims, lines, strict=True):
        done = tuple(_with_p(line, next(corrected)) for line in own)
        decisions.append(Decision(claim, done, *summed_up(done)))
    return decisions


def _with_p(line: Line, p: float | None) -> Line:
    """Return a comparison with its corrected p-value."""
    return line if line.compared is None else replace(line, compared=replace(line.compared, p_corrected=p))


def _lines(claim: Claim, test: Test, found: Found) -> list[Line]:
    """Return the comparisons of a test: one for each place and metric, however many published columns it stands for."""
    printed: dict[tuple[str, str], list[Printed]] = {}
    metrics: dict[tuple[str, str], Metric] = {}
    replaced = set()
    for table in test.tables:
        rows = published.table(table).rows
        for column in test.columns:
            place, metric = found.place(table, column)
            at = place, metric.key
            metrics[at] = metric
            pairs = printed.setdefault(at, [])
            first, second = (rows.get(printed_key(key), {}).get(column) for key in (test.first, test.second))
            if first is not None and second is not None:
                pairs.append(Printed(table, column, first, second))
            if column in INSTEAD[found.scale]:
                replaced.add(at)
    lines = []
    for at, metric in metrics.items():
        margin = None
        if claim.kind == "comparable":
            apart = [abs(pair.first - pair.second) for pair in printed[at]]
            margin = max(apart) if apart and at not in replaced else None
            if margin is None:
                lines.append(_line(test, at[0], metric, printed[at], found, "the paper prints no such difference"))
                continue
        lines.append(_compared(_line(test, at[0], metric, printed[at], found), test, found, margin))
    return lines


def _line(test: Test, place: str, metric: Metric, printed: Sequence[Printed], found: Found, reason: str = "") -> Line:
    """Return a comparison that is not decided yet."""
    first, second = (found.name(place, key) or key for key in (test.first, test.second))
    return Line(first, second, place, metric, tuple(printed), reason=reason)


def _compared(line: Line, test: Test, found: Found, margin: float | None) -> Line:
    """Return a comparison with its values and its verdict, or with the reason why there is none."""
    first, why = found.of(line.place, test.first)
    second, why_second = found.of(line.place, test.second)
    if first is None or second is None:
        return replace(line, reason="; ".join(dict.fromkeys(filter(None, (why, why_second)))))
    if first is second:
        return replace(line, reason=f"{line.first} stands for both")
    try:
        compared = _difference(first, second, line.metric)
    except UserError as error:
        return replace(line, reason=str(error))
    if compared.difference.value is None:
        return replace(line, reason=f"no {line.metric.title} was measured", compared=compared)
    if line.metric.key == SECONDS.key:
        verdict = seconds_verdict(compared.first or 0, compared.second or 0)
        return replace(line, verdict=verdict, compared=compared)
    if compared.difference.ci95 is None:
        return replace(line, reason=f"{line.metric.title} of so few images has no interval", compared=compared)
    verdict = verdict_of(compared.difference.ci95, compared.higher, margin)
    return replace(line, verdict=verdict, compared=compared, margin=margin)


def _difference(first: Result, second: Result, metric: Metric) -> ComparedMetric:
    """Compare two results in a metric; raise UserError where they cannot be compared or one lacks it."""
    if metric.key != SECONDS.key:
        return compare(first, second)[metric.key]
    times = [result.seconds_per_image if isinstance(result, PicturesResult) else None for result in (first, second)]
    if times[0] is None or times[1] is None:
        raise UserError("the pictures have no times beside them")
    apart = Difference(times[1] - times[0], None, None, min(first.n, second.n))
    return ComparedMetric(metric.key, False, times[0], times[1], apart)


def verdict_of(ci95: Sequence[float], higher: bool, margin: float | None = None) -> str:
    """Return the verdict on "the first is better", or on "both are within `margin`", by an interval.

    Args:
        ci95: of second minus first.
        higher: whether higher values are better.
        margin: how far apart comparable values may be; None where the first has to be better.

    >>> verdict_of((-2.0, -1.0), True), verdict_of((-2.0, -1.0), False), verdict_of((-1.0, 1.0), True)
    ('holds', 'does not hold', 'inside the interval')
    >>> verdict_of((-0.1, 0.2), True, 0.3), verdict_of((0.4, 0.9), True, 0.3), verdict_of((0.1, 0.9), True, 0.3)
    ('holds', 'does not hold', 'inside the interval')
    """
    low, high = sorted(-end if higher else end for end in ci95)  # of how much better the first is
    if margin is not None:
        if -margin <= low and high <= margin:
            return HOLDS
        return FAILS if low > margin or high < -margin else INSIDE
    if low > 0:
        return HOLDS
    return FAILS if high < 0 else INSIDE


def seconds_verdict(first: float, second: float) -> str:
    """Return the verdict on "the first takes fewer seconds"; seconds have no interval but `SECONDS_MARGIN`.

    >>> seconds_verdict(1.0, 3.0), seconds_verdict(3.0, 1.0), seconds_verdict(1.0, 1.1)
    ('holds', 'does not hold', 'inside the interval')
    """
    if abs(first - second) < SECONDS_MARGIN * max(first, second):
        return INSIDE
    return HOLDS if first < second else FAILS


def summed_up(lines: Sequence[Line]) -> tuple[str, str]:
    """Return a claim's verdict and its reason from its comparisons.

    It does not hold if one of them says the opposite, and holds if all that are decided agree. A comparison that is not
    decided leaves the claim open, unless the same two models are decided by the same metric on other data.
    """
    counts = {verdict: sum(line.verdict == verdict for line in lines) for verdict in VERDICTS}
    said = {HOLDS: "agree", FAILS: "say the opposite", INSIDE: "are inside the interval", UNDECIDED: "are not decided"}
    reason = f"of {len(lines)} comparisons " + ", ".join(f"{counts[v]} {said[v]}" for v in VERDICTS if counts[v])
    if counts[FAILS]:
        return FAILS, reason
    known = {(line.first, line.second, line.metric.key) for line in lines if line.verdict != UNDECIDED}
    left = [line for line in lines if (line.first, line.second, line.metric.key) not in known]
    if left:
        why = first_few(list(dict.fromkeys(line.reason for line in left)), 2)
        return UNDECIDED, f"{reason}: {why}" if len(left) < len(lines) else why
    return (INSIDE if counts[INSIDE] else HOLDS), reason
