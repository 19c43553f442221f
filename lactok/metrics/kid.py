"""Kernel Inception distance (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]


@metric("kid", title="KID x1000", higher=False, digits=1, scale=1000, default=True, features=INCEPTION_TF1)
def kid(first: Blocks, second: Blocks) -> float:
    """Kernel Inception distance (Binkowski et al. 2018): unbiased squared MMD over all pairs, cubic kernel."""
    m, n = (sum(len(b) for b in blocks) for blocks in (first, second))
    if min(m, n) < 2:
        return float("nan")
    across = sum(float(_kernel(a, b).sum()) for a in first for b in second) / (m * n)
    return _sum_within(first) / (m * (m - 1)) + _sum_within(second) / (n * (n - 1)) - 2 * across


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def _sum_within(blocks: Blocks) -> float:
    """Sum of the kernel over all pairs of different rows of one set: each block against itself and the later ones."""
    total = 0.0
    for i in range(len(blocks)):
        first = blocks[i]
        own = _kernel(first, first)
        total += float(own.sum() - np.trace(own))
        total += 2 * sum(float(_kernel(first, blocks[j]).sum()) for j in range(i + 1, len(blocks)))
    return total
