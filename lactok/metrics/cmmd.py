"""CMMD (Jayasumana et al. 2024): the maximum mean discrepancy of CLIP's image embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.registry import metric
from lactok.metrics.vision_features import CLIP_336

Blocks = Sequence[np.ndarray]
SIGMA = 10.0  # bandwidth of the kernel
SCALE = 1000.0  # by which the authors' code multiplies the discrepancy
ROWS = 4096  # embeddings on each side of a block of the kernel


@metric("cmmd", title="CMMD", higher=False, digits=3, features=CLIP_336)
def cmmd(references: Blocks, outputs: Blocks) -> float:
    """Return CMMD of CLIP ViT-L/14@336's embeddings (n, 768), of length 1, of references and reconstructions.

    As in the authors' code the estimate is the biased one: the mean of the Gaussian kernel over all pairs, those of an
    embedding with itself included, times 1000. It is 0 for equal sets; unlike FID it hardly depends on how many images
    there are. An image takes some 10 s on one core.
    """
    within = _mean_kernel(references, references) + _mean_kernel(outputs, outputs)
    return SCALE * (within - 2 * _mean_kernel(references, outputs))


def _mean_kernel(first: Blocks, second: Blocks) -> float:
    """Return the mean of the Gaussian kernel over all pairs of rows of two sets of blocks (n, d)."""
    m, n = (sum(len(block) for block in blocks) for blocks in (first, second))
    if not m or not n:
        return float("nan")
    total = 0.0
    for a in first:
        for start in range(0, len(a), ROWS):
            x = a[start : start + ROWS].astype(np.float64)
            for b in second:
                for other in range(0, len(b), ROWS):
                    y = b[other : other + ROWS].astype(np.float64)
                    squared = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
                    total += float(np.exp(-squared.clip(min=0) / (2 * SIGMA**2)).sum())
    return total / (m * n)
