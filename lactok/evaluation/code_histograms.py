"""How far two sets of images are apart by the codes that they use: the codebook histogram distance, CHD.

It is the Hellinger distance between the frequencies of the codes in both sets, wherever in an image they stand: 0 where
both use all codes equally often, 1 where they share none. Source: Jia et al. 2026, arXiv 2603.08064, and
zexiJia/1d-Distance `chd/chd_metric.py`, which takes the ids of TiTok-L-32.

Two small sets of the same kind of image are apart too, since each shows another choice of codes. So beside a distance
stands what the same images give when they are dealt at random to two sets of these sizes, and from it the p-value of
the permutation test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEALS = 200  # random ways of dealing the images to two sets


@dataclass(frozen=True)
class CodeDistance:
    """The distance of two sets of images by their codes.

    Attributes:
        value: the codebook histogram distance, 0 to 1.
        at_random: the mean distance where the images are dealt at random, and its quantiles of 2.5 % and 97.5 %.
        p: the share of deals, the true one among them, that give this distance or more.
    """

    value: float
    at_random: tuple[float, float, float]
    p: float


def code_distance(first: np.ndarray, second: np.ndarray, deals: int = DEALS) -> CodeDistance:
    """Return the codebook histogram distance of two sets of images.

    Args:
        first, second: the ids (n, L) and (m, L) of the images of each set, by the same tokenizer; one image at least.
        deals: random ways of dealing the images to two sets; the same ones every time.
    """
    codes, ids = np.unique(np.concatenate([first.ravel(), second.ravel()]), return_inverse=True)
    images = ids.reshape(len(first) + len(second), -1)  # codes that do not occur have no part in the distance
    count, size = len(first), len(codes)
    rng = np.random.default_rng(0)
    value = _split(images, np.arange(len(images)), count, size)
    null = np.array([_split(images, rng.permutation(len(images)), count, size) for _ in range(deals)])
    low, high = np.quantile(null, [0.025, 0.975])
    as_far = int((null >= value * (1 - 1e-12)).sum())
    return CodeDistance(value, (float(null.mean()), float(low), float(high)), (as_far + 1) / (deals + 1))


def _split(images: np.ndarray, order: np.ndarray, count: int, size: int) -> float:
    """Return the distance between the first `count` images of an order and the others, of so many codes in all."""
    parts = (images[order[:count]], images[order[count:]])
    return hellinger(*(np.bincount(part.ravel(), minlength=size) for part in parts))


def hellinger(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Hellinger distance between two distributions that are given by counts, (N,) each.

    >>> hellinger(np.array([1, 1, 0]), np.array([5, 5, 0])), hellinger(np.array([1, 0]), np.array([0, 3]))
    (0.0, 1.0)
    """
    p, q = (np.sqrt(counts / counts.sum()) for counts in (first, second))
    return float(np.sqrt(((p - q) ** 2).sum() / 2))
