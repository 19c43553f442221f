"""Means with bootstrap intervals, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, permutation_test

RESAMPLES = 2000
PERMUTATIONS = 1999


def mean_with_interval(
    values: np.ndarray, groups: Sequence[str] | None = None
) -> tuple[float | None, list[float] | None]:
    """The mean of per-image values and its 95 % percentile bootstrap interval.

    Resampling is seeded, so the same values give the same interval. None, None without values; the interval is None
    for a single one.

    Args:
        groups: which values belong together (images of one caption); groups are resampled, not values. The mean is of
            the values all the same.
    """
    if len(values) == 0:
        return None, None
    mean = float(values.mean())
    if len(values) == 1:
        return mean, None
    if np.ptp(values) == 0:
        return mean, [mean, mean]
    if groups is not None and len(set(groups)) < len(values):
        _, which, counts = np.unique(np.asarray(groups, dtype=object), return_inverse=True, return_counts=True)
        return mean, clustered_mean([(np.bincount(which, weights=values), counts)])[1]
    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 4_000_000 // len(values)),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return mean, [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def clustered_mean(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float | None, list[float] | None]:
    """The mean over groups of the mean over a group's values, and its 95 % percentile bootstrap interval.

    Args:
        groups: for each (sums, counts) of its clusters of values; clusters are what is resampled, each group by
            itself, so values that belong together stay together.

    Seeded as `mean_with_interval`. None, None without a group; the interval is None where a group has one cluster.
    """
    if not groups:
        return None, None
    sums, counts = ([np.asarray(g[i], np.float64) for g in groups] for i in (0, 1))

    def statistic(*chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        """Of chosen clusters, as indices, a group after the other."""
        means = [sums[g][i].sum(axis) / counts[g][i].sum(axis) for g, i in enumerate(chosen)]
        return np.mean(means, axis=0)

    indices = [np.arange(len(s)) for s in sums]
    mean = float(statistic(*indices))
    if min(len(i) for i in indices) == 1:
        return mean, None
    result = bootstrap(
        indices,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, 4_000_000 // max(len(i) for i in indices)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return mean, [float(result.confidence_interval.low), float(result.confidence_interval.high)]


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        value, ci95: as `mean_with_interval`.
        p: two-sided, of the permutation test that flips the signs of differences; None for fewer than two pairs.
        n: pairs of finite values.
    """

    value: float | None
    ci95: list[float] | None
    p: float | None
    n: int

    @property
    def is_apart(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.ci95 is not None and not self.ci95[0] <= 0 <= self.ci95[1]


def paired_difference(first: np.ndarray, second: np.ndarray, groups: Sequence[str] | None = None) -> Difference:
    """`second` minus `first`, values of the same things in the same order; seeded, so the same every time.

    Args:
        groups: as in `mean_with_interval`; signs are flipped a group at a time.

    >>> paired_difference(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])).ci95
    [1.0, 1.0]
    """
    both = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    kept = np.isfinite(both)
    both, named = both[kept], None if groups is None else np.asarray(groups, dtype=object)[kept]
    mean, interval = mean_with_interval(both, None if named is None else named.tolist())
    return Difference(mean, interval, _sign_flips(both, named), len(both))


def _sign_flips(differences: np.ndarray, groups: np.ndarray | None) -> float | None:
    sums = differences
    if groups is not None and len(groups):
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=differences)
    if len(sums) < 2:
        return None
    result = permutation_test(
        (sums,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, 4_000_000 // len(sums)),
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def codebook_statistics(histogram: np.ndarray) -> dict[str, float | int]:
    """How a codebook was used, from the count of each code.

    Returns:
        seen: ids counted; used: codes that occurred; usage: used / min(codebook size, seen); perplexity:
        2 to the entropy; entropy_bits: of the empirical distribution.
    """
    seen = int(histogram.sum())
    used = int((histogram > 0).sum())
    p = histogram[histogram > 0] / max(seen, 1)
    entropy = float(-(p * np.log2(p)).sum()) + 0.0
    return {
        "seen": seen,
        "used": used,
        "usage": used / max(1, min(len(histogram), seen)),
        "perplexity": float(2**entropy),
        "entropy_bits": entropy,
    }
