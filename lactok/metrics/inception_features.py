"""The 2048 pooled features of FID's Inception, from images resized to 299 px in two ways."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lactok.metrics.registry import Features
from lactok.nn.inception_checkpoint import INCEPTION

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

FLOPS = 11.4e9  # of one image at 299 px


def clean_resize(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, 299, 299) float32, clean-fid's PIL bicubic in float."""
    import numpy as np
    import torch
    from cleanfid.resize import build_resizer

    resizer = build_resizer("clean")
    arrays = [resizer(image.permute(1, 2, 0).numpy()) for image in images.cpu()]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def tf1_resize(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, 299, 299) float32, TensorFlow 1's bilinear without antialias (torch-fidelity)."""
    from lactok.nn import inception

    return inception.tf1_resize(images)


def _features(resize: Callable[[Tensor], Tensor], images: Tensor, device: str) -> np.ndarray:
    import torch

    from lactok.nn.inception import inception

    resized = resize(images).to(device, memory_format=torch.channels_last)
    return inception(device)(resized).float().cpu().numpy()


INCEPTION_TF1 = Features("inception_tf1", partial(_features, tf1_resize), (INCEPTION,), ("torch-fidelity",), FLOPS)
INCEPTION_CLEAN = Features(
    "inception_clean", partial(_features, clean_resize), (INCEPTION,), ("torch-fidelity", "clean-fid"), FLOPS
)
