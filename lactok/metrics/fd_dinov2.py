"""FD-DINOv2 (Stein et al. 2023): the Frechet distance between DINOv2's features, as dgm-eval computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.frechet import frechet
from lactok.metrics.grouped import frechet_leaving_out
from lactok.metrics.registry import metric
from lactok.metrics.vision_features import DINOV2

Blocks = Sequence[np.ndarray]
SINGULAR_BELOW = 1025  # images, below which the covariance of the 1024 features is singular


@metric(
    "fd_dinov2",
    title="FD-DINOv2",
    higher=False,
    digits=1,
    reliable_from=SINGULAR_BELOW,
    features=DINOV2,
    leaving_out=frechet_leaving_out,
)
def fd_dinov2(references: Blocks, outputs: Blocks) -> float:
    """Return the Frechet distance between DINOv2 ViT-L/14's class tokens (n, 1024) of references and reconstructions.

    It is 0 for equal sets. An image takes about as much as two of Inception's on a GPU, some 5 s on one core.
    """
    return frechet(references, outputs)
