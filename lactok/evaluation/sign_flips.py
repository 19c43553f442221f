"""The permutation test that flips the signs of paired differences, for many pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

TOLERANCE = 100 * np.finfo(np.float64).eps  # relative difference of two means that counts as none, as in scipy


def null_means(values: np.ndarray, permutations: int, batch: int) -> np.ndarray:
    """Return the means of values (n,) whose signs are flipped at random, (permutations,), the same every time.

    They are, up to rounding, those of `scipy.stats.permutation_test` with `permutation_type="samples"` and a generator
    of seed 0, which makes a Python list of n arrays for it, so that its time grows faster than the number of values.

    Args:
        values: the values.
        permutations: number of flips of all signs.
        batch: number of flips that are in memory together.
    """
    return np.concatenate(list(_batches(values, permutations, min(batch, permutations))))[:permutations]


def _batches(values: np.ndarray, permutations: int, batch: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    # which of a value and its negative comes first, for each flip and value
    first = np.tile(np.arange(2, dtype=np.int8), (batch, len(values), 1))
    column = values[:, None]
    for _ in range(0, permutations, batch):
        is_flipped = rng.permuted(first, axis=-1)[:, :, 0].T.astype(bool)
        yield np.where(is_flipped, -column, column).mean(0)


def two_sided_p(values: np.ndarray, permutations: int, batch: int) -> float:
    """Return the two-sided p-value of a mean of zero of values (n,), whose signs are flipped at random.

    Args:
        values, permutations, batch: as in `null_means`; there are more ways to flip the signs than permutations.
    """
    observed = float(values.mean())
    null = null_means(values, permutations, batch)
    slack = abs(TOLERANCE * observed)
    fewest = min((null <= observed + slack).sum(), (null >= observed - slack).sum())
    return min(1.0, 2 * (int(fewest) + 1) / (permutations + 1))
