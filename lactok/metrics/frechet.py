"""The Frechet distance of two sets of features, with memory that does not grow.

A set is a sequence of (n, d) blocks that can be walked through more than once (the shards of a run).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Blocks = Sequence[np.ndarray]
SINGULAR_BELOW = 2049  # with 2048 features fewer samples than this make the covariance singular


@dataclass
class Moments:
    """Streaming mean and covariance: n, the sum and the sum of outer products, float64 throughout."""

    n: int
    total: np.ndarray  # (d,)
    outer: np.ndarray  # (d, d)

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Moments:
        """Moments of all rows; adding shards in any grouping differs only by rounding."""
        state: Moments | None = None
        for block in blocks:
            x = block.astype(np.float64)
            if state is None:
                state = cls(0, np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1])))
            state.n += len(x)
            state.total += x.sum(0)
            state.outer += x.T @ x
        if state is None or state.n < 2:
            raise ValueError("a covariance needs two samples or more")
        return state

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """With ddof = 1, as numpy.cov."""
        return (self.outer - np.outer(self.total, self.mean)) / (self.n - 1)


def _trace_sqrt_product(first: np.ndarray, second: np.ndarray) -> float:
    """Trace of the root of a product of two covariances: Cholesky and a symmetric eigenproblem."""
    from scipy import linalg

    try:
        factor = np.linalg.cholesky(first)
    except np.linalg.LinAlgError:  # rank deficient: the symmetric root by eigenvectors instead
        values, vectors = linalg.eigh(first)
        factor = vectors * np.sqrt(values.clip(min=0))
    eigenvalues = linalg.eigvalsh(factor.T @ second @ factor)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def frechet(first: Blocks, second: Blocks) -> float:
    """Frechet distance of two sets of features (Heusel et al. 2017), covariances with ddof = 1.

    Sets smaller than their width go through the singular values of the product of the centred features, which is the
    same number, exact and fast where the covariances are singular.
    """
    counts = [sum(len(b) for b in blocks) for blocks in (first, second)]
    width = first[0].shape[1]
    if min(counts) < 2:
        return float("nan")
    if max(counts) <= width:
        a, b = (np.concatenate(list(blocks)).astype(np.float64) for blocks in (first, second))
        mean_a, mean_b = a.mean(0), b.mean(0)
        a, b = (a - mean_a) / np.sqrt(counts[0] - 1), (b - mean_b) / np.sqrt(counts[1] - 1)
        cross = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
        traces = float((a * a).sum() + (b * b).sum())
    else:
        x, y = Moments.of(first), Moments.of(second)
        mean_a, mean_b = x.mean, y.mean
        cross = _trace_sqrt_product(x.covariance, y.covariance)
        traces = float(np.trace(x.covariance) + np.trace(y.covariance))
    difference = mean_a - mean_b
    return float(difference @ difference) + traces - 2 * cross
