"""The Frechet distance between two sets of features, in memory that does not grow with the sets.

A set is a sequence of (n, d) blocks that can be iterated over more than once, such as the shards of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Blocks = Sequence[np.ndarray]
ROWS = 4096  # that are in float64 at a time; a block of patches has many more
FEATURES = 2048  # numbers of an image that FID's Inception gives
SINGULAR_BELOW = 2049  # with fewer samples than this, the covariance of Inception's 2048 features is singular


@dataclass
class Moments:
    """Streaming mean and covariance in float64.

    Attributes:
        n: number of samples.
        total: sum of the samples, (d,).
        outer: sum of the samples' outer products, (d, d).
    """

    n: int
    total: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Moments:
        """Return the moments of the rows of all blocks (n, d); how rows are grouped into blocks changes only rounding.

        Raises:
            ValueError: the blocks have fewer than two rows.
        """
        state: Moments | None = None
        for block in blocks:
            if state is None:
                width = block.shape[1]
                state = cls(0, np.zeros(width), np.zeros((width, width)))
            for start in range(0, len(block), ROWS):
                x = block[start : start + ROWS].astype(np.float64)
                state.n += len(x)
                state.total += x.sum(0)
                state.outer += x.T @ x
        if state is None or state.n < 2:
            raise ValueError("a covariance needs two samples or more")
        return state

    @property
    def mean(self) -> np.ndarray:
        """The mean of the samples, (d,)."""
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance of the samples, (d, d): with ddof = 1, as numpy.cov."""
        return (self.outer - np.outer(self.total, self.mean)) / (self.n - 1)


@dataclass(frozen=True)
class Gaussian:
    """The mean and covariance of a set's features, as files of reference statistics hold them.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64, with ddof = 1.
    """

    mean: np.ndarray
    covariance: np.ndarray


def _trace_sqrt_product(first: np.ndarray, second: np.ndarray) -> float:
    """Return the trace of the square root of the product of two covariances (d, d).

    With first = L L^T, the product has the eigenvalues of the symmetric matrix L^T second L.
    """
    from scipy import linalg

    try:
        factor = np.linalg.cholesky(first)
    except np.linalg.LinAlgError:  # a rank-deficient covariance has no Cholesky factor; its eigenvectors give one
        values, vectors = linalg.eigh(first)
        factor = vectors * np.sqrt(values.clip(min=0))
    eigenvalues = linalg.eigvalsh(factor.T @ second @ factor)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def frechet(first: Blocks | Gaussian, second: Blocks) -> float:
    """Return the Frechet distance between two sets of features (Heusel et al. 2017); covariances have ddof = 1.

    If neither set has more samples than features, the trace of the covariances' square root is computed from the
    singular values of the product of the centred features. The result is the same number; this way is exact and fast
    although the covariances are singular.

    Args:
        first: blocks (n, d) of one set, or its mean and covariance.
        second: blocks (n, d) of the other set.

    Returns:
        The distance; nan if a set has fewer than two samples.
    """
    second_count = sum(len(block) for block in second)
    if isinstance(first, Gaussian):
        return float("nan") if second_count < 2 else between_gaussians(first, _gaussian(second))
    first_count = sum(len(block) for block in first)
    width = first[0].shape[1]
    if min(first_count, second_count) < 2:
        return float("nan")
    if max(first_count, second_count) > width:
        return between_gaussians(_gaussian(first), _gaussian(second))
    a, b = (np.concatenate(list(blocks)).astype(np.float64) for blocks in (first, second))
    first_mean, second_mean = a.mean(0), b.mean(0)
    a = (a - first_mean) / np.sqrt(first_count - 1)
    b = (b - second_mean) / np.sqrt(second_count - 1)
    trace_sqrt = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    traces = float((a * a).sum() + (b * b).sum())
    return from_traces(first_mean - second_mean, traces, trace_sqrt)


def _gaussian(blocks: Blocks) -> Gaussian:
    """Return the mean and covariance of the rows of all blocks."""
    moments = Moments.of(blocks)
    return Gaussian(moments.mean, moments.covariance)


def between_gaussians(first: Gaussian, second: Gaussian) -> float:
    """Return the Frechet distance between two normal distributions."""
    trace_sqrt = _trace_sqrt_product(first.covariance, second.covariance)
    traces = float(np.trace(first.covariance) + np.trace(second.covariance))
    return from_traces(first.mean - second.mean, traces, trace_sqrt)


def from_traces(difference: np.ndarray, traces: float, trace_sqrt: float) -> float:
    """Return the distance from the means' difference (d,), the covariances' traces and that of their root."""
    return float(difference @ difference) + traces - 2 * trace_sqrt
