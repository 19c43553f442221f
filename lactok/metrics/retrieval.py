"""Retrieval: whether a reconstruction is nearer to its own reference than to the references of other images."""

from __future__ import annotations

import numpy as np


def similarities(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return the cosine similarities (N, M) float64 of features (N, C) with features (M, C)."""
    first = queries.astype(np.float64) / np.linalg.norm(queries, axis=1, keepdims=True)
    second = gallery.astype(np.float64) / np.linalg.norm(gallery, axis=1, keepdims=True)
    return first @ second.T


def ranks(outputs: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return, for each output, the number of references that are nearer to it than its own, (N,) int64.

    Nearness is cosine similarity. Rank 0 means that its own reference is the nearest; the expected rank of a random
    guess is (N - 1) / 2.

    Args:
        outputs: features (N, C) of the reconstructions.
        references: features (N, C) of their references, in the same order.

    >>> ranks(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [0, 1]
    """
    found = similarities(outputs, references)
    return (found > found.diagonal()[:, None]).sum(1)
