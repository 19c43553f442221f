"""Rank correlations of two figures over tokenizers: Spearman's and Kendall's, with intervals and an exact test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import permutation_test, rankdata
from scipy.stats import t as student

FEWEST = 5  # pairs: of fewer, no order is rarer than 5 % by chance, whichever way it goes
FEW = 10  # pairs below which intervals are of little use
RESAMPLES = 2000  # of the pairs, for an interval
MOST_ORDERS = 50_000  # orders that the test looks at: all of 8 pairs or fewer, so that it is exact
BATCH = 200  # resamples at a time
LEVEL = 0.05


@dataclass(frozen=True)
class RankCorrelation:
    """How far two figures order the same things alike.

    Attributes:
        n: the number of pairs.
        spearman: the correlation of the ranks, -1 to 1; None where a figure is the same for all, or for fewer than two.
        spearman_ci95: its 95 % interval, None for fewer than `FEWEST` pairs.
        kendall: Kendall's tau-b, the surplus of pairs of pairs that both figures order alike.
        kendall_ci95: its 95 % interval.
        p: the two-sided p-value of the permutation test that Spearman's is 0; None for fewer than `FEWEST` pairs.
    """

    n: int
    spearman: float | None = None
    spearman_ci95: tuple[float, float] | None = None
    kendall: float | None = None
    kendall_ci95: tuple[float, float] | None = None
    p: float | None = None


def rank_correlation(first: np.ndarray, second: np.ndarray) -> RankCorrelation:
    """Correlate two figures by the ranks of their values; the same values give the same result.

    Intervals are percentile bootstrap intervals, which resample the pairs; resamples in which a figure is the same for
    all pairs have no correlation and are left out. Of fewer than `FEW` pairs they are too narrow.

    Args:
        first, second: (n,), the values of the same things in the same order, all finite.

    >>> found = rank_correlation(np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 8, 9, 20, 30]))
    >>> found.spearman, found.kendall, round(found.p * math.factorial(5))
    (1.0, 1.0, 2)
    """
    n = len(first)
    if n < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return RankCorrelation(n)
    pair = np.stack([first, second])[:, None]
    spearman, kendall = (float(of(pair)[0]) for of in (_spearman, _kendall))
    if n < FEWEST:
        return RankCorrelation(n, spearman, None, kendall, None, None)
    chosen = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    resampled = np.stack([first[chosen], second[chosen]])
    intervals = [_interval(of, resampled) for of in (_spearman, _kendall)]
    return RankCorrelation(n, spearman, intervals[0], kendall, intervals[1], _p_value(first, second))


def smallest_significant(n: int) -> float | None:
    """Return the smallest Spearman correlation, without ties, that chance reaches in 5 % of cases at most.

    It is exact up to 8 pairs, and by Student's t beyond (Zar 1972, "Significance testing of the Spearman rank
    correlation coefficient"); None for fewer than `FEWEST` pairs, of which there is none.

    >>> smallest_significant(4), round(smallest_significant(5), 3), round(smallest_significant(7), 3)
    (None, 1.0, 0.786)
    """
    if n < FEWEST:
        return None
    if math.factorial(n) > MOST_ORDERS:
        t = float(student.ppf(1 - LEVEL / 2, n - 2))
        return t / math.sqrt(n - 2 + t**2)
    values, counts = np.unique(np.round(np.abs(_all_correlations(n)), 9), return_counts=True)
    at_least = counts[::-1].cumsum()[::-1] / math.factorial(n)
    return float(values[at_least <= LEVEL][0])


@cache
def _all_correlations(n: int) -> np.ndarray:
    """Return Spearman's correlation of 0, 1, ... n - 1 with each of its orders, (n!,)."""
    from itertools import permutations

    orders = np.array(list(permutations(range(n))), np.float64)
    return 1 - 6 * ((orders - np.arange(n)) ** 2).sum(1) / (n * (n**2 - 1))


def _spearman(pairs: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each row, (R,) of pairs (2, R, n); nan where a figure is constant."""
    ranks = rankdata(pairs, axis=-1)
    centred = ranks - ranks.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (centred[0] * centred[1]).sum(-1) / np.sqrt((centred[0] ** 2).sum(-1) * (centred[1] ** 2).sum(-1))


def _kendall(pairs: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of each row, (R,) of pairs (2, R, n); nan where a figure is constant."""
    signs = np.sign(pairs[..., :, None] - pairs[..., None, :])
    with np.errstate(invalid="ignore", divide="ignore"):
        both = (signs[0] * signs[1]).sum((-1, -2))
        return both / np.sqrt((signs[0] ** 2).sum((-1, -2)) * (signs[1] ** 2).sum((-1, -2)))


def _interval(of: Callable[[np.ndarray], np.ndarray], resampled: np.ndarray) -> tuple[float, float]:
    """Return the quantiles of 2.5 % and 97.5 % of a correlation over resamples (2, R, n)."""
    parts = [of(resampled[:, start : start + BATCH]) for start in range(0, resampled.shape[1], BATCH)]
    low, high = np.nanquantile(np.concatenate(parts), [0.025, 0.975])
    return float(low), float(high)


def _p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of the permutation test by the ranks, of all orders where these are few enough."""
    own, other = (rankdata(values) - (len(values) + 1) / 2 for values in (first, second))

    def statistic(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.abs(np.moveaxis(values, axis, -1) @ other)

    found = permutation_test(
        (own,),
        statistic,
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=MOST_ORDERS,
        batch=10_000,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
