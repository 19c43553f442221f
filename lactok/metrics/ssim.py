"""Structural similarity (Wang et al. 2004): the usual form, scikit-image's default, and LlamaGen's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor


@metric("ssim", title="SSIM", higher=True, default=True)
def ssim(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """uint8 batches (B, 3, H, W) -> (B,) float64; see `structural_similarity`."""
    return structural_similarity(references.float() / 255, outputs.float() / 255)


@metric("ssim_uniform7", title="SSIM 7x7", higher=True, libraries=("scikit-image",))
def ssim_uniform7(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """scikit-image's default SSIM (7x7 uniform window) of uint8 batches -> (B,) float64."""
    return _of_skimage(references, outputs, 1.0)


@metric("ssim_range2", title="SSIM range 2", higher=True, libraries=("scikit-image",))
def ssim_range2(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """LlamaGen's SSIM: scikit-image's default with data_range=2 on [0, 1] images, which inflates it (a quirk)."""
    return _of_skimage(references, outputs, 2.0)


def structural_similarity(first: Tensor, second: Tensor, data_range: float = 1.0, reflect: bool = False) -> Tensor:
    """Structural similarity with an 11x11 Gaussian window of sigma 1.5 (Wang et al. 2004) -> (B,) float64.

    The values of scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`: population
    covariance, the mean over positions where the window lies inside.

    Args:
        first, second: (B, 3, H, W) float32, H and W at least 11.
        data_range: largest possible difference, 1 for images in [0, 1].
        reflect: continue the images beyond their border by reflection and average over all positions, as
            torchmetrics does.

    Raises:
        ValueError: an image is smaller than the window.
    """
    import torch
    import torch.nn.functional as F

    if reflect:
        first, second = (F.pad(t, (5, 5, 5, 5), mode="reflect") for t in (first, second))
    h, w = first.shape[-2:]
    if min(h, w) < 11:
        raise ValueError(f"SSIM needs images of at least 11x11 pixels, these are {h}x{w}")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for x, y in zip(first.float(), second.float(), strict=True):  # image by image: the moments are large
        mean_x, mean_y, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
        product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        value = (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))
        values.append(value.double().mean())
    return torch.stack(values)


def _gaussian(size: int, sigma: float) -> Tensor:
    import torch

    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-((x / sigma) ** 2) / 2)
    return window / window.sum()


def _blur(planes: Tensor) -> Tensor:
    """The Gaussian window over (..., H, W), inside only: shifted sums, several times as fast as a convolution."""
    window = _gaussian(11, 1.5).tolist()
    for dim in (-1, -2):
        length = planes.shape[dim] - 10
        out = planes.narrow(dim, 0, length) * window[0]
        for shift, weight in enumerate(window[1:], 1):
            out.add_(planes.narrow(dim, shift, length), alpha=weight)
        planes = out
    return planes


def _of_skimage(first: Tensor, second: Tensor, data_range: float) -> Tensor:
    import numpy as np
    import torch
    from skimage.metrics import structural_similarity as of_skimage

    values = []
    for a, b in zip(first, second, strict=True):
        x, y = (t.permute(1, 2, 0).numpy().astype(np.float32) / np.float32(255) for t in (a, b))
        values.append(of_skimage(x, y, channel_axis=-1, data_range=data_range))
    return torch.tensor(values, dtype=torch.float64)
