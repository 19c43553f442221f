"""The 2048 pooled features of the Inception network of FID, for two ways of resizing images to 299 px."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from lactok import weights
from lactok.metrics.registry import Features
from lactok.nn.inception_checkpoint import INCEPTION, INCEPTION_CLASSIFIER

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

FLOPS = 11.4e9  # floating-point operations of Inception for one image of 299 px


def clean_resize(images: Tensor) -> Tensor:
    """Resize images (B, 3, H, W) uint8 to (B, 3, 299, 299) float32 in [0, 255] as clean-fid does.

    That is PIL's bicubic interpolation in float, with antialiasing.
    """
    import numpy as np
    import torch
    from cleanfid.resize import build_resizer

    resizer = build_resizer("clean")
    arrays = [resizer(image.permute(1, 2, 0).numpy()) for image in images.cpu()]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def tf1_resize(images: Tensor) -> Tensor:
    """Resize images (B, 3, H, W) uint8 to (B, 3, 299, 299) float32 in [0, 255] as torch-fidelity does.

    That is TensorFlow 1's bilinear interpolation, without antialiasing.
    """
    from lactok.nn.inception_scoring import tf1_resize_uint8

    return tf1_resize_uint8(images)


def _features(resize: Callable[[Tensor], Tensor], images: Tensor, device: str, fast: bool = False) -> np.ndarray:
    """Return Inception's pooled features (B, 2048) float32 of images (B, 3, H, W) uint8; `fast` means in bfloat16."""
    import torch

    from lactok.nn.inception_scoring import load_scoring_inception

    resized = resize(images).to(device, memory_format=torch.channels_last)
    return load_scoring_inception(device, fast)(resized).cpu().numpy()


def classifier() -> np.ndarray:
    """Return the matrix (1008, 2048) of Inception's last layer, used without its bias; later calls return the same."""
    return _classifier(weights.resolve(INCEPTION_CLASSIFIER).sha256)


@lru_cache(maxsize=1)
def _classifier(_digest: str) -> np.ndarray:
    """Read the matrix; the digest is an argument so that other weights are read anew."""
    return weights.load(INCEPTION_CLASSIFIER)["weight"].numpy()


INCEPTION_TF1 = Features(
    "inception_tf1",
    partial(_features, tf1_resize),
    (INCEPTION,),
    ("torch-fidelity",),
    FLOPS,
    version=2,
    fast=True,
)
INCEPTION_CLEAN = Features(
    "inception_clean",
    partial(_features, clean_resize),
    (INCEPTION,),
    ("torch-fidelity", "clean-fid"),
    FLOPS,
    version=2,
    fast=True,
)
