"""Whether a reconstruction is still recognised: where its own original stands among all originals by nearness."""

from __future__ import annotations

import numpy as np


def similarities(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosine similarity of features (N, C) and (M, C), (N, M) float64."""
    first, second = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    return first @ second.T


def ranks(outputs: np.ndarray, references: np.ndarray) -> np.ndarray:
    """How many originals are nearer to a reconstruction than its own; features (N, C) of both -> (N,) int64.

    Nearness is cosine similarity. 0: its own is the nearest; chance is (N - 1) / 2.

    >>> ranks(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [0, 1]
    """
    found = similarities(outputs, references)
    return (found > found.diagonal()[:, None]).sum(1)
