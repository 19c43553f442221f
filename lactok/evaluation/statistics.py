"""Means with intervals, paired differences with permutation tests, and statistics of a codebook's use.

`docs/statistics.md` says what each interval means and how often it covers the true value, which
`python -m benchmarks.coverage` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test
from scipy.stats import t as student

from lactok.evaluation.jackknife import Resampled
from lactok.evaluation.sign_flips import two_sided_p
from lactok.metrics.registry import Metric

RESAMPLES = 2000  # of the bootstrap
PERMUTATIONS = 1999  # of signs; with the observed ones they are 2000
LEAST_P = 2 / (PERMUTATIONS + 1)  # that random flips of signs can give, two-sided
POWER = 0.8  # with which the smallest detectable difference would be found
FEWEST = 2  # images in each set of which a distance can be computed
MANY = 1000  # pairs from which on signs are flipped by `lactok.evaluation.sign_flips`, which is faster then
BATCH_VALUES = 4_000_000  # resampled values that are held in memory at a time


def mean_with_interval(
    values: np.ndarray, groups: Sequence[str] | None = None, are_differences: bool = False
) -> tuple[float | None, list[float] | None]:
    """Compute the mean of values and its 95 % interval.

    The interval is Student's, corrected for the skewness of the values by Hall's transformation (Hall 1992, "On the
    removal of skewness by transformation"): of skewed values, such as LPIPS of few images, the plain one covers the
    true mean too seldom. Nothing is resampled, so the same values give the same interval.

    Args:
        values: (n,), one for each image.
        groups: for each value, the group that it belongs to, such as the caption of an image. The interval is then
            that of so many groups, not of so many values; the mean is that of the values all the same.
        are_differences: whether the values are differences, whose mean may be negative although each is 0 or 1. Else
            the mean of values that are 0 or 1 is a share, whose interval ends at 0 and 1.

    Returns:
        The mean, None without values or where it is not finite; and the bounds of the interval, None for fewer than
        two values or groups.

    >>> mean, (low, high) = mean_with_interval(np.array([1.0, 2.0, 3.0, 10.0]))
    >>> mean, high - mean > mean - low  # the values have a long tail upwards
    (4.0, True)
    """
    if len(values) == 0:
        return None, None
    mean = float(values.mean())
    if not np.isfinite(mean):
        return None, None
    spread = _of_units(values, mean, groups)
    if len(spread) == 1:
        return mean, None
    if np.ptp(values) == 0:
        return mean, [mean, mean]
    low, high = _skewed_interval(spread, mean)
    if not are_differences and np.isin(values, (0, 1)).all():  # the mean is a share
        low, high = max(low, 0.0), min(high, 1.0)
    return mean, [low, high]


def _of_units(values: np.ndarray, mean: float, groups: Sequence[str] | None) -> np.ndarray:
    """Return the values of independent units, whose mean is `mean`: the values, or what each group adds to their mean.

    The mean of all values is a ratio, of the groups' sums and their counts; to first order a group moves it by its sum
    less the mean for each of its values, over the mean count.
    """
    if groups is None or len(set(groups)) == len(values):
        return values
    _, which, counts = np.unique(np.asarray(groups, dtype=object), return_inverse=True, return_counts=True)
    return mean + (np.bincount(which, weights=values) - mean * counts) / counts.mean()


def _skewed_interval(values: np.ndarray, mean: float) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of the mean of two or more values, see `mean_with_interval`."""
    n = len(values)
    scale = float(np.abs(values - mean).max())
    if scale == 0:
        return mean, mean
    deviations = (values - mean) / scale  # so that no power of them overflows
    variance = float((deviations**2).sum()) / (n - 1)
    quantile = float(student.ppf(0.975, n - 1)) / np.sqrt(n)
    skewness = 0.0
    if n > 2:
        skewness = n / ((n - 1) * (n - 2)) * float((deviations**3).sum()) / variance**1.5
    ends = []
    for end in (quantile, -quantile):
        shifted = end - skewness / (6 * n)
        if abs(skewness) > 1e-6:  # below that the transformation is the identity, but for rounding
            shifted = float(np.cbrt(1 + skewness * shifted) - 1) / (skewness / 3)
        ends.append(mean - shifted * np.sqrt(variance) * scale)
    return float(ends[0]), float(ends[1])


def mean_entry(values: np.ndarray, groups: Sequence[str] | None = None, partial: bool = False) -> dict[str, Any]:
    """Return the entry of a mean over images in a result: `value`, `ci95`, `n`, and without a value the `reason`.

    Args:
        values, groups: as in `mean_with_interval`.
        partial: leave out values that are nan, see `lactok.metrics.registry.Metric`; `excluded` is their number.

    >>> mean_entry(np.array([1.0, np.nan]))
    {'value': None, 'ci95': None, 'n': 2, 'reason': 'the values of 1 of 2 images are not finite'}
    >>> mean_entry(np.array([1.0, np.nan]), partial=True)
    {'value': 1.0, 'ci95': None, 'n': 1, 'excluded': 1}
    """
    if partial:
        missing = np.isnan(values)
        kept = None if groups is None else np.asarray(groups, dtype=object)[~missing].tolist()
        of_others = mean_entry(values[~missing], kept) | {"excluded": int(missing.sum())}
        if missing.all() and len(values):
            of_others["reason"] = f"none of {len(values)} images shows what it measures"
        return of_others
    mean, interval = mean_with_interval(values, groups)
    entry: dict[str, Any] = {"value": mean, "ci95": interval, "n": len(values)}
    if mean is None:
        wrong = int((~np.isfinite(values)).sum())
        entry["reason"] = f"the values of {wrong} of {len(values)} images are not finite" if wrong else "no image"
    return entry


def distance_entry(
    metric: Metric,
    value: float | None,
    n: int,
    references: int | None = None,
    resampled: Resampled | None = None,
) -> dict[str, Any]:
    """Return the entry of a distance between two sets of images in a result, without a value the `reason` for that.

    Args:
        metric: the distance.
        value: its value; it does not count where a set has fewer than `FEWEST` images.
        n: the number of images.
        references: the number of images in the other set, where that is another number.
        resampled: the values without each of some groups of images, which give the interval; or why there are none.

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
    elif resampled is not None:
        entry |= resampled.entry(value)
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
        ci95: the bounds of its 95 % interval, None for fewer than two pairs.
        p: the two-sided p-value: of the permutation test that flips the signs of differences; for distances of sets of
            the t test by the jackknife. None for fewer than two pairs.
        n: the number of pairs of finite values.
        detectable: the smallest true difference that so many pairs would show with a probability of 80 %, at a level
            of 5 %; None without an interval.
    """

    value: float | None
    ci95: list[float] | None
    p: float | None
    n: int
    detectable: float | None = None

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
    kept_groups: list[str] | None = None
    if groups is not None:
        kept_groups = np.asarray(groups, dtype=object)[is_finite].tolist()
    mean, interval = mean_with_interval(differences, kept_groups, are_differences=True)
    p, smallest = _sign_flips(differences, kept_groups), smallest_difference(differences, kept_groups)
    return Difference(mean, interval, p, len(differences), smallest)


def smallest_difference(differences: np.ndarray, groups: Sequence[str] | None = None) -> float | None:
    """Return the smallest true mean difference that these many pairs would show, see `detectable`.

    Args:
        differences, groups: as in `paired_difference`, the differences finite.

    Returns:
        The difference, None for fewer than two pairs or groups.
    """
    units = _of_units(differences, float(differences.mean()), groups) if len(differences) else differences
    if len(units) < 2:
        return None
    return detectable(float(units.std(ddof=1)) / np.sqrt(len(units)), len(units) - 1)


def detectable(error: float, degrees: int) -> float:
    """Return the smallest true difference that a two-sided t test of level 5 % finds with a probability of 80 %.

    Args:
        error: the standard error of the difference.
        degrees: the degrees of freedom.

    >>> round(detectable(1.0, 10_000), 2)  # the familiar 1.96 + 0.84
    2.8
    """
    return float((student.ppf(0.975, degrees) + student.ppf(POWER, degrees)) * error)


def distance_difference(first: Resampled, second: Resampled, values: tuple[float, float], n: int) -> Difference:
    """Compare the distances of two sets of reconstructions to the same photographs: second minus first.

    The images left out are the same for both, so what the images have in common cancels.

    Args:
        first, second: the values without each group; the groups are the same.
        values: the two distances.
        n: the number of images.
    """
    difference = values[1] - values[0]
    both = Resampled(first.sizes, tuple(b - a for a, b in zip(first.without, second.without, strict=True)))
    error = both.standard_error(difference)
    degrees = len(both.sizes) - 1
    if error > 0:
        p = float(2 * student.sf(abs(difference) / error, degrees))
    else:
        p = 1.0 if difference == 0 else 0.0
    return Difference(difference, both.interval(difference), p, n, detectable(error, degrees))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number, as Holm (1979) does: the chance that any of them is a false alarm is bounded.

    Args:
        p_values: of the tests of one table; None where there was no test.

    Returns:
        The corrected values in the same order, at most 1 and never below the plain ones.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for place, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p))
        corrected[i] = largest
    return corrected


def _sign_flips(differences: np.ndarray, groups: Sequence[str] | None) -> float | None:
    """Return the two-sided p-value of a mean difference of zero, flipping signs of groups; None for fewer than two."""
    sums = differences
    if groups is not None and len(groups):
        _, group_numbers = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
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


def codebook_statistics(histogram: np.ndarray, size: int | None = None) -> dict[str, float | int]:
    """Compute how a codebook was used.

    Args:
        histogram: how often each code occurs; zeros may be left out.
        size: the number of codes, by default the length of the histogram.

    Returns:
        size: the number of codes; seen: the number of ids; used: the number of codes that occur; usage: used / size,
        which cannot exceed seen / size; usage_of_seen: used / min(size, seen), 1 where no more codes could occur;
        entropy_bits: the entropy of the codes' frequencies in bits; perplexity: 2 to
        the power of the entropy.
    """
    size = len(histogram) if size is None else size
    seen = int(histogram.sum())
    used = int((histogram > 0).sum())
    p = histogram[histogram > 0] / max(seen, 1)
    entropy = float(-(p * np.log2(p)).sum()) + 0.0  # which makes 0 of -0
    return {
        "size": size,
        "seen": seen,
        "used": used,
        "usage": used / max(size, 1),
        "usage_of_seen": used / max(min(size, seen), 1),
        "perplexity": float(2**entropy),
        "entropy_bits": entropy,
    }
