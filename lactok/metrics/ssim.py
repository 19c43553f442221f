"""Structural similarity, SSIM (Wang et al. 2004): the usual form, scikit-image's default, and LlamaGen's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor


@metric("ssim", title="SSIM", higher=True, default=True)
def ssim(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the SSIM (B,) float64 between uint8 images (B, 3, H, W), with the Gaussian window of the paper."""
    return structural_similarity(references.float() / 255, outputs.float() / 255)


@metric("ssim_uniform7", title="SSIM 7x7", higher=True, libraries=("scikit-image",))
def ssim_uniform7(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return scikit-image's default SSIM (B,) float64, with a 7x7 uniform window, between uint8 images (B, 3, H, W)."""
    return _skimage_ssim(references, outputs, 1.0)


@metric("ssim_range2", title="SSIM range 2", higher=True, libraries=("scikit-image",))
def ssim_range2(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return LlamaGen's SSIM (B,) float64 between uint8 images (B, 3, H, W).

    LlamaGen calls scikit-image with data_range=2 on images in [0, 1], which makes the values too high; this metric is
    for comparison with its published numbers.
    """
    return _skimage_ssim(references, outputs, 2.0)


def structural_similarity(first: Tensor, second: Tensor, data_range: float = 1.0, reflect: bool = False) -> Tensor:
    """Return the SSIM (B,) float64 with an 11x11 Gaussian window of standard deviation 1.5 (Wang et al. 2004).

    The values are those of scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`: the
    covariance is that of the population, and the mean is over the positions where the window lies inside the image.

    Args:
        first, second: images (B, 3, H, W) float32, H and W at least 11.
        data_range: the largest possible difference of two pixels, 1 for images in [0, 1].
        reflect: whether to pad the images by reflection and to average over all positions, as torchmetrics does.

    Raises:
        ValueError: the images are smaller than the window.
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
    for x, y in zip(first.float(), second.float(), strict=True):  # one image at a time, since the five planes are large
        mean_x, mean_y, xx, yy, xy = blur(torch.stack([x, y, x * x, y * y, x * y]))
        product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        value = (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))
        values.append(value.double().mean())
    return torch.stack(values)


def _gaussian(size: int, sigma: float) -> Tensor:
    """Return a Gaussian window (size,) float64 whose sum is 1."""
    import torch

    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-((x / sigma) ** 2) / 2)
    return window / window.sum()


def blur(planes: Tensor) -> Tensor:
    """Convolve planes (..., H, W) with the 11x11 Gaussian window, without padding: (..., H - 10, W - 10).

    Sums of shifted planes are several times as fast as a convolution.
    """
    window = _gaussian(11, 1.5).tolist()
    for dim in (-1, -2):
        length = planes.shape[dim] - 10
        out = planes.narrow(dim, 0, length) * window[0]
        for shift, weight in enumerate(window[1:], 1):
            out.add_(planes.narrow(dim, shift, length), alpha=weight)
        planes = out
    return planes


def _skimage_ssim(first: Tensor, second: Tensor, data_range: float) -> Tensor:
    """Return scikit-image's default SSIM (B,) float64 between uint8 images (B, 3, H, W), scaled to [0, 1]."""
    import numpy as np
    import torch
    from skimage.metrics import structural_similarity as skimage_ssim

    values = []
    for a, b in zip(first, second, strict=True):
        x, y = (image.permute(1, 2, 0).numpy().astype(np.float32) / np.float32(255) for image in (a, b))
        values.append(skimage_ssim(x, y, channel_axis=-1, data_range=data_range))
    return torch.tensor(values, dtype=torch.float64)
