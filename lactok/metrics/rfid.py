"""The Frechet Inception distance, FID (Heusel et al. 2017), for two ways of resizing images to 299 px."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.frechet import SINGULAR_BELOW, Gaussian, frechet
from lactok.metrics.grouped import frechet_leaving_out
from lactok.metrics.inception_features import INCEPTION_CLEAN, INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]


@metric(
    "rfid",
    title="rFID",
    higher=False,
    digits=2,
    default=True,
    reliable_from=SINGULAR_BELOW,
    features=INCEPTION_TF1,
    leaving_out=frechet_leaving_out,
)
def rfid(references: Blocks, outputs: Blocks) -> float:
    """Return the FID between features (n, 2048) of references and reconstructions, resized as torch-fidelity does."""
    return frechet(references, outputs)


@metric(
    "rfid_clean",
    title="rFID clean",
    higher=False,
    digits=2,
    reliable_from=SINGULAR_BELOW,
    features=INCEPTION_CLEAN,
    leaving_out=frechet_leaving_out,
)
def rfid_clean(references: Blocks, outputs: Blocks) -> float:
    """Return the FID between features (n, 2048) of references and reconstructions, resized as clean-fid does."""
    return frechet(references, outputs)


@metric(
    "fid",
    title="FID",
    higher=False,
    digits=2,
    reliable_from=SINGULAR_BELOW,
    features=INCEPTION_TF1,
    of_references="moments",
    leaving_out=frechet_leaving_out,
    listed=False,
)
def fid(references: Blocks | Gaussian, outputs: Blocks) -> float:
    """Return the FID between features (n, 2048) of photographs and of generated images, resized as torch-fidelity does.

    The photographs' mean and covariance will do. It is not listed because it is not a metric of reconstructions.
    """
    return frechet(references, outputs)
