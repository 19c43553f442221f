"""Means with bootstrap intervals, paired differences with permutation tests, and statistics of a codebook's use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test

from lactok.evaluation.sign_flips import two_sided_p
from lactok.metrics.registry import Metric

RESAMPLES = 2000  # of the bootstrap
PERMUTATIONS = 1999  # of signs; with the observed ones they are 2000
FEWEST = 2  # images in each set of which a distance can be computed
MANY = 1000  # pairs from which on signs are flipped by `lactok.evaluation.sign_flips`, which is faster then
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
        The mean, None without values or where it is not finite; and the bounds of the interval, None for fewer than
        two values.
    """
    if len(values) == 0:
        return None, None
    mean = float(values.mean())
    if not np.isfinite(mean):
        return None, None
    if len(values) == 1:
        return mean, None
    if np.ptp(values) == 0:
        return mean, [mean, mean]
    if groups is not None and len(set(groups)) < len(values):
        _, which, counts = np.unique(np.asarray(groups, dtype=object), return_inverse=True, return_counts=True)
        return mean, clustered_mean([(np.bincount(which, weights=values), counts)])[1]
    return mean, _interval((values,), np.mean, len(values))


def mean_entry(values: np.ndarray, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the entry of a mean over images in a result: `value`, `ci95`, `n`, and without a value the `reason`.

    Args:
        values, groups: as in `mean_with_interval`.

    >>> mean_entry(np.array([1.0, np.nan]))
    {'value': None, 'ci95': None, 'n': 2, 'reason': 'the values of 1 of 2 images are not finite'}
    """
    mean, interval = mean_with_interval(values, groups)
    entry: dict[str, Any] = {"value": mean, "ci95": interval, "n": len(values)}
    if mean is None:
        wrong = int((~np.isfinite(values)).sum())
        entry["reason"] = f"the values of {wrong} of {len(values)} images are not finite" if wrong else "no image"
    return entry


def distance_entry(metric: Metric, value: float | None, n: int, references: int | None = None) -> dict[str, Any]:
    """Return the entry of a distance between two sets of images in a result, without a value the `reason` for that.

    Args:
        metric: the distance.
        value: its value; it does not count where a set has fewer than `FEWEST` images.
        n: the number of images.
        references: the number of images in the other set, where that is another number.

    >>> from lactok.metrics.registry import find
    >>> distance_entry(find("kid"), None, 1)
    {'value': None, 'ci95': None, 'n': 1, 'reason': 'a distance needs two images or more'}
    """
    fewest = n if references is None else min(n, references)
    entry: dict[str, Any] = {"value": value, "ci95": None, "n": n}
    if references is not None:
        entry["references"] = references
    if metric.reliable_from:
        entry["reliable"] = fewest >= metric.reliable_from
    if fewest < FEWEST:
        entry |= {"value": None, "reason": "a distance needs two images or more"}
    elif fewest < metric.fewest:
        entry |= {"value": None, "reason": f"{metric.title} needs {metric.fewest} images or more"}
    elif value is None or not np.isfinite(value):
        entry |= {"value": None, "reason": "its value is not finite"}
    return entry


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
    if len(sums) >= MANY:
        return two_sided_p(sums, PERMUTATIONS, max(1, BATCH_VALUES // len(sums)))
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
        size: the number of codes; seen: the number of ids; used: the number of codes that occur; usage: used / size,
        which cannot exceed seen / size; entropy_bits: the entropy of the codes' frequencies in bits; perplexity: 2 to
        the power of the entropy.
    """
    seen = int(histogram.sum())
    used = int((histogram > 0).sum())
    p = histogram[histogram > 0] / max(seen, 1)
    entropy = float(-(p * np.log2(p)).sum()) + 0.0  # which makes 0 of -0
    return {
        "size": len(histogram),
        "seen": seen,
        "used": used,
        "usage": used / max(len(histogram), 1),
        "perplexity": float(2**entropy),
        "entropy_bits": entropy,
    }
