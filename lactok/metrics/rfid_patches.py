"""The rFID of patches: the Frechet Inception distance between patches of 256 px at the images' own scale.

FID looks at whole images that are shrunk to 299 px, so of an image of 1024 px it does not see the fine detail. A patch
of 256 px is enlarged instead. An image of 1024 px has 16 patches, so few images give many samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lactok.metrics.frechet import FEATURES, SINGULAR_BELOW, frechet
from lactok.metrics.grouped import frechet_leaving_out
from lactok.metrics.inception_features import FLOPS, INCEPTION_TF1
from lactok.metrics.registry import Features, metric

if TYPE_CHECKING:
    from torch import Tensor

Blocks = Sequence[np.ndarray]
SIDE = 256  # pixels of a patch
TOGETHER = 16  # patches that Inception gets at a time


def patches_in(height: int, width: int) -> int:
    """Return the number of patches of an image.

    >>> patches_in(1024, 1024), patches_in(512, 800), patches_in(200, 800)
    (16, 6, 0)
    """
    return (height // SIDE) * (width // SIDE)


def patches(images: Tensor) -> Tensor:
    """Cut images (B, 3, H, W) into patches that do not overlap, (B * N, 3, 256, 256), image after image, row by row.

    What is left at the edges is cut off evenly on both sides.
    """
    height, width = images.shape[-2:]
    rows, columns = height // SIDE, width // SIDE
    top, left = (height - rows * SIDE) // 2, (width - columns * SIDE) // 2
    whole = images[:, :, top : top + rows * SIDE, left : left + columns * SIDE]
    cut = whole.reshape(len(images), 3, rows, SIDE, columns, SIDE).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(-1, 3, SIDE, SIDE)


def patch_features(images: Tensor, device: str) -> np.ndarray:
    """Return Inception's pooled features (B, N, 2048) float32 of the N patches of images (B, 3, H, W) uint8."""
    cut = patches(images)
    parts = [INCEPTION_TF1.compute(cut[start : start + TOGETHER], device) for start in range(0, len(cut), TOGETHER)]
    found = np.concatenate([np.zeros((0, FEATURES), np.float32), *parts])
    return found.reshape(len(images), -1, FEATURES)


INCEPTION_PATCH256 = Features(
    "inception_tf1_patch256",
    patch_features,
    INCEPTION_TF1.networks,
    INCEPTION_TF1.libraries,
    FLOPS,
    INCEPTION_TF1.version,
    rows=patches_in,
)


@metric(
    "rfid_patch256",
    title="rFID 256 px patches",
    higher=False,
    digits=2,
    reliable_from=SINGULAR_BELOW,
    smallest=SIDE,
    features=INCEPTION_PATCH256,
    leaving_out=frechet_leaving_out,
)
def rfid_patch256(references: Blocks, outputs: Blocks) -> float:
    """Return the FID between features (n, 2048) of the patches of references and of reconstructions.

    Patches are resized as torch-fidelity does for FID. At 256 px it is the rFID. At 1024 px an image takes as much as
    16 of rFID's, some 2 s on one core.
    """
    return frechet(references, outputs)
