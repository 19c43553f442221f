"""The kernel Inception distance, KID (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]


@metric("kid", title="KID x1000", higher=False, digits=1, scale=1000, default=True, features=INCEPTION_TF1)
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
    mean_between = sum(float(_kernel(a, b).sum()) for a in first for b in second) / (m * n)
    return _sum_within(first) / (m * (m - 1)) + _sum_within(second) / (n * (n - 1)) - 2 * mean_between


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the kernel (a . b / d + 1)^3 of every row of a (n, d) with every row of b (m, d): (n, m) float64."""
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def _sum_within(blocks: Blocks) -> float:
    """Return the sum of the kernel over all ordered pairs of different rows of one set.

    Each block is compared with itself and with the later blocks; the kernel is symmetric, so the latter count twice.
    """
    total = 0.0
    for i in range(len(blocks)):
        block = blocks[i]
        within_block = _kernel(block, block)
        total += float(within_block.sum() - np.trace(within_block))
        total += 2 * sum(float(_kernel(block, blocks[j]).sum()) for j in range(i + 1, len(blocks)))
    return total
