"""Means with bootstrap intervals, paired differences with permutation tests, and statistics of a codebook's use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test

RESAMPLES = 2000  # of the bootstrap
PERMUTATIONS = 1999  # of signs; with the observed ones they are 2000
BATCH_VALUES = 4_000_000  # resampled values that are held in memory at a time


def mean_with_interval(
    values: np.ndarray, groups: Sequence[str] | None = None
) -> tuple[float | None, list[float] | None]:
    """Compute the mean of values and its 95 % percentile bootstrap interval.

    Resampling is seeded, so the same values give the same interval.

    Args:
        values: (n,), one for each image.
        groups: for each value, the group that it belongs to, such as the caption of an image. Groups are resampled
            then, not values; the mean is that of the values all the same.

    Returns:
        The mean, None without values; and the bounds of the interval, None for fewer than two values.
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
    return mean, _interval((values,), np.mean, len(values))


def _interval(data: Sequence[np.ndarray], statistic: Callable[..., Any], longest: int) -> list[float]:
    """Return the 95 % percentile bootstrap interval of a statistic, seeded; `longest` is the longest array's length."""
    result = bootstrap(
        data,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // longest),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def clustered_mean(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float | None, list[float] | None]:
    """Compute the mean over groups of each group's mean, and its 95 % percentile bootstrap interval.

    The values of a group come in clusters, such as the images of one prompt. Clusters are resampled within each group,
    so values that belong together stay together. Resampling is seeded.

    Args:
        groups: for each group, the sums of its clusters' values and their counts, each (number of clusters,).

    Returns:
        The mean, None without groups; and the bounds of the interval, None where a group has a single cluster.
    """
    if not groups:
        return None, None
    sums = [np.asarray(group_sums, np.float64) for group_sums, _ in groups]
    counts = [np.asarray(group_counts, np.float64) for _, group_counts in groups]

    def statistic(*chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        """Return the mean of the groups' means, of the clusters whose indices are chosen in each group."""
        means = [sums[g][indices].sum(axis) / counts[g][indices].sum(axis) for g, indices in enumerate(chosen)]
        return np.mean(means, axis=0)

    clusters = [np.arange(len(group_sums)) for group_sums in sums]
    sizes = [len(indices) for indices in clusters]
    mean = float(statistic(*clusters))
    if min(sizes) == 1:
        return mean, None
    return mean, _interval(clusters, statistic, max(sizes))


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        value: the mean, None without pairs.
        ci95: the bounds of its 95 % bootstrap interval, None for fewer than two pairs.
        p: the two-sided p-value of the permutation test that flips the signs of differences; None for fewer than two
            pairs.
        n: the number of pairs of finite values.
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
    """Compare paired values: the mean of `second` minus `first`, with interval and p-value, the same every time.

    Args:
        first, second: (n,), values of the same samples in the same order; pairs that are not finite are left out.
        groups: for each pair, the group that it belongs to, as in `mean_with_interval`; the signs of a group are
            flipped together.

    >>> paired_difference(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])).ci95
    [1.0, 1.0]
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    is_finite = np.isfinite(differences)
    differences = differences[is_finite]
    kept_groups = None
    if groups is not None:
        kept_groups = np.asarray(groups, dtype=object)[is_finite]
    mean, interval = mean_with_interval(differences, None if kept_groups is None else kept_groups.tolist())
    return Difference(mean, interval, _sign_flips(differences, kept_groups), len(differences))


def _sign_flips(differences: np.ndarray, groups: np.ndarray | None) -> float | None:
    """Return the two-sided p-value of a mean difference of zero, flipping signs of groups; None for fewer than two."""
    sums = differences
    if groups is not None and len(groups):
        _, group_numbers = np.unique(groups, return_inverse=True)
        sums = np.bincount(group_numbers, weights=differences)
    if len(sums) < 2:
        return None
    result = permutation_test(
        (sums,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, BATCH_VALUES // len(sums)),
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def codebook_statistics(histogram: np.ndarray) -> dict[str, float | int]:
    """Compute how a codebook was used.

    Args:
        histogram: (codebook size,), how often each code occurs.

    Returns:
        seen: the number of ids; used: the number of codes that occur; usage: used / min(codebook size, seen);
        entropy_bits: the entropy of the codes' frequencies in bits; perplexity: 2 to the power of the entropy.
    """
    seen = int(histogram.sum())
    used = int((histogram > 0).sum())
    p = histogram[histogram > 0] / max(seen, 1)
    entropy = float(-(p * np.log2(p)).sum()) + 0.0  # which makes 0 of -0
    return {
        "seen": seen,
        "used": used,
        "usage": used / max(1, min(len(histogram), seen)),
        "perplexity": float(2**entropy),
        "entropy_bits": entropy,
    }
