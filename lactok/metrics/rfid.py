"""Frechet Inception distance of reconstructions (Heusel et al. 2017), resized to 299 px in two ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.frechet import SINGULAR_BELOW, frechet
from lactok.metrics.inception_features import INCEPTION_CLEAN, INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]


@metric(
    "rfid", title="rFID", higher=False, digits=2, default=True, reliable_from=SINGULAR_BELOW, features=INCEPTION_TF1
)
def rfid(references: Blocks, outputs: Blocks) -> float:
    """With torch-fidelity's resizing: TensorFlow 1's bilinear, without antialias."""
    return frechet(references, outputs)


@metric(
    "rfid_clean", title="rFID clean", higher=False, digits=2, reliable_from=SINGULAR_BELOW, features=INCEPTION_CLEAN
)
def rfid_clean(references: Blocks, outputs: Blocks) -> float:
    """With clean-fid's resizing: PIL's bicubic in float."""
    return frechet(references, outputs)


@metric("fid", title="FID", higher=False, digits=2, reliable_from=SINGULAR_BELOW, features=INCEPTION_TF1, listed=False)
def fid(references: Blocks, outputs: Blocks) -> float:
    """The same of generated pictures and photographs; no metric of reconstructions, so it is not listed among them."""
    return frechet(references, outputs)
