"""The kernel Inception distance, KID (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lactok.metrics.grouped import Grouping, LeaveOut
from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]
ALONE = np.zeros(0, np.int64)  # no groups


def kid_leaving_out(references: Blocks, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute the distance of all samples and without each group, from sums of the kernel over pairs of groups.

    Each value of the kernel is computed once.

    Args:
        references, outputs: features of the two sets, as for `kid`.
        grouping: the groups of their rows.
    """
    of_outputs, count = grouping.outputs, grouping.count
    paired = grouping.references is not None
    fixed = np.zeros(sum(len(block) for block in references), np.int64)  # all of one group, which is never left out
    of_references = grouping.references if grouping.references is not None else fixed
    m, n = np.bincount(of_references, minlength=count), np.bincount(of_outputs, minlength=count)
    between = _between(references, outputs, of_references, of_outputs, count)
    first, second = _within(references, of_references, count), _within(outputs, of_outputs, count)
    without = np.zeros(count)
    for group in range(count):
        of_both = [(second, n, True), (first, m, paired)]
        means = []
        for sums, sizes, is_left_out in of_both:
            left = sizes.sum() - sizes[group] * is_left_out
            total = sums.of_groups.sum()
            if is_left_out:
                total -= 2 * sums.of_groups[group].sum() - sums.of_groups[group, group]
            means.append((total / (left * (left - 1)), left))
        crossing = between.of_groups.sum() - between.of_groups[:, group].sum()
        if paired:
            crossing -= between.of_groups[group].sum() - between.of_groups[group, group]
        without[group] = means[0][0] + means[1][0] - 2 * crossing / (means[0][1] * means[1][1])
    return LeaveOut(_unbiased(first.total, second.total, between.total, int(m.sum()), int(n.sum())), without)


@metric(
    "kid",
    title="KID x1000",
    higher=False,
    digits=1,
    scale=1000,
    default=True,
    features=INCEPTION_TF1,
    leaving_out=kid_leaving_out,
)
def kid(first: Blocks, second: Blocks) -> float:
    """Return the kernel Inception distance: the unbiased squared MMD over all pairs, with the cubic kernel.

    Args:
        first, second: features of the two sets, as blocks (n, d) that can be iterated over more than once.

    Returns:
        The distance, not multiplied by 1000; nan if a set has fewer than two samples.
    """
    m, n = sum(len(block) for block in first), sum(len(block) for block in second)
    if min(m, n) < 2:
        return float("nan")
    return _unbiased(_within(first).total, _within(second).total, _between(first, second).total, m, n)


def _unbiased(within_first: float, within_second: float, between: float, m: int, n: int) -> float:
    """Return the distance from sums of the kernel over pairs within each set, of m and n samples, and between them."""
    return within_first / (m * (m - 1)) + within_second / (n * (n - 1)) - 2 * (between / (m * n))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the kernel (a . b / d + 1)^3 of every row of a (n, d) with every row of b (m, d): (n, m) float64."""
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class _KernelSums:
    """Sums of the kernel over pairs of samples: over all pairs, and over those of each two groups (groups, groups)."""

    total: float
    of_groups: np.ndarray


def _of_groups(kernel: np.ndarray, first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Return the sums (count, count) of a kernel (n, m) over the rows of each group and the columns of each group."""
    groups = np.arange(count)
    rows = (first == groups[:, None]).astype(np.float64)
    columns = (second[:, None] == groups).astype(np.float64)
    return rows @ kernel @ columns


def _between(
    first: Blocks, second: Blocks, first_groups: np.ndarray = ALONE, second_groups: np.ndarray = ALONE, count: int = 0
) -> _KernelSums:
    """Return the sums of the kernel over all pairs of a row of one set and a row of the other.

    Args:
        first, second: the sets.
        first_groups, second_groups: the groups of their rows.
        count: the number of groups; 0 if there are none.
    """
    of_groups, totals, start = np.zeros((count, count)), [], 0
    for a in first:
        place = 0
        for b in second:
            kernel = _kernel(a, b)
            totals.append(float(kernel.sum()))
            if count:
                groups = first_groups[start : start + len(a)], second_groups[place : place + len(b)]
                of_groups += _of_groups(kernel, *groups, count)
            place += len(b)
        start += len(a)
    return _KernelSums(sum(totals), of_groups)


def _within(blocks: Blocks, groups: np.ndarray = ALONE, count: int = 0) -> _KernelSums:
    """Return the sums of the kernel over all ordered pairs of different rows of one set; arguments as of `_between`.

    Each block is compared with itself and with the later blocks; the kernel is symmetric, so the latter count twice.
    """
    of_groups, total, start = np.zeros((count, count)), 0.0, 0
    for i in range(len(blocks)):
        block = blocks[i]
        own = groups[start : start + len(block)]
        kernel = _kernel(block, block)
        total += float(kernel.sum() - np.trace(kernel))
        if count:
            of_groups += _of_groups(kernel, own, own, count)
            of_groups -= np.diag(np.bincount(own, weights=kernel.diagonal(), minlength=count))
        start += len(block)
        place, later = start, []
        for j in range(i + 1, len(blocks)):
            other = blocks[j]
            kernel = _kernel(block, other)
            later.append(float(kernel.sum()))
            if count:
                crossing = _of_groups(kernel, own, groups[place : place + len(other)], count)
                of_groups += crossing + crossing.T
            place += len(other)
        total += 2 * sum(later)
    return _KernelSums(total, of_groups)
