"""Whether a reconstruction is still recognised: the original nearest to it among all originals."""

from __future__ import annotations

import numpy as np


def nearest(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Index of the row of `gallery` (M, C) at the smallest cosine distance of each query (N, C); (N,) int64.

    Of rows that are equally near the first counts.

    >>> nearest(np.array([[0.0, 2.0], [3.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1, 0]
    """
    first, second = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    return (first @ second.T).argmax(1)


def retrieved(outputs: np.ndarray, references: np.ndarray) -> np.ndarray:
    """1 where a reconstruction's nearest original is its own, else 0; features (N, C) of both -> (N,) float64."""
    return (nearest(outputs, references) == np.arange(len(references))).astype(np.float64)
