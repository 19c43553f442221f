"""Structural similarity, SSIM (Wang et al. 2004): the usual form, scikit-image's default, and LlamaGen's."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

WINDOW = 11  # pixels of the window's side
BAND = 32  # rows and columns that are filtered together, see `_filter`


def filtered_means(references: Tensor, device: str = "cpu") -> list[list[Tensor]]:
    """Return what SSIM needs of the references (B, 3, H, W) uint8 alone: their means under the window, by bands."""
    return [[_filter(band)[0] for band in _bands(image.unsqueeze(0), 255)] for image in references]


@metric("ssim", title="SSIM", higher=True, default=True, version=2, reference_part=filtered_means)
def ssim(references: Tensor, outputs: Tensor, device: str = "cpu", known: list[list[Tensor]] | None = None) -> Tensor:
    """Return the SSIM (B,) float64 between uint8 images (B, 3, H, W), with the Gaussian window of the paper.

    Args:
        references, outputs: the images.
        device: not used; all is computed on the CPU.
        known: what `filtered_means` returns for the references, where it is known already.
    """
    return _values(references, outputs, 1.0, 255, known)


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
    import torch.nn.functional as F

    if reflect:
        first, second = (F.pad(t, (5, 5, 5, 5), mode="reflect") for t in (first, second))
    return _values(first.float(), second.float(), data_range)


def _values(
    first: Tensor, second: Tensor, data_range: float, levels: int = 1, known: list[list[Tensor]] | None = None
) -> Tensor:
    """Return the SSIM (B,) float64 between images (B, C, H, W) over the positions where the window lies inside.

    Four filtered planes are enough, since the two variances are only ever added up. They are computed band by band, so
    that a band stays in the processor's cache.

    Args:
        first, second: the images, of any number type.
        data_range: the largest possible difference of two pixels after the division by `levels`.
        levels: what the pixels are divided by.
        known: the filtered means of the first images by image and band; None to compute them here.
    """
    import torch

    c, h, w = first.shape[1:]
    if min(h, w) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, these are {h}x{w}")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    outside = -(w - WINDOW + 1) % BAND  # columns of the last block that lie beyond the image
    values = []
    for i in range(len(first)):
        total = 0.0
        for k, pair in enumerate(_bands(torch.stack([first[i], second[i]]), levels)):
            x, y = pair
            planes = torch.stack([y, x * y, x * x + y * y])
            mean_y, xy, squares = _filter(planes)
            mean_x = _filter(x[None])[0] if known is None else known[i][k]
            product = mean_x * mean_y
            of_means = mean_x * mean_x + mean_y * mean_y
            covariance = xy.sub_(product).mul_(2).add_(c2)
            variances = squares.sub_(of_means).add_(c2)
            value = product.mul_(2).add_(c1).mul_(covariance).div_(of_means.add_(c1).mul_(variances))
            if outside:
                value[-1, ..., BAND - outside :] = 0
            total += value.sum(dtype=torch.float64).item()
        values.append(total / (c * (h - WINDOW + 1) * (w - WINDOW + 1)))
    return torch.tensor(values, dtype=torch.float64)


def _bands(images: Tensor, levels: int) -> Iterator[Tensor]:
    """Yield the horizontal bands of images (N, C, H, W), float32 and divided by `levels`.

    A band (N, C, rows + 10, width) becomes `rows` filtered rows, at most `BAND`. Its width is the images' width filled
    with zeros, so that the filtered columns are a multiple of `BAND`.
    """
    import torch

    margin = WINDOW - 1
    h, w = images.shape[-2] - margin, images.shape[-1] - margin
    width = -(-w // BAND) * BAND + margin
    for top in range(0, h, BAND):
        rows = min(BAND, h - top)
        band = images.new_zeros((*images.shape[:2], rows + margin, width), dtype=torch.float32)
        band[..., : w + margin] = images[..., top : top + rows + margin, :]
        yield band.div_(levels) if levels != 1 else band


def _filter(band: Tensor) -> Tensor:
    """Convolve a band (N, C, rows + 10, width) with the Gaussian window, as two products with a matrix of few columns.

    Sums over the 42 pixels that 32 neighbours see between them are faster than a convolution, and than sums of shifted
    planes, since matrix products use all of the processor.

    Returns:
        The filtered planes by blocks of columns, (N, blocks, C, rows, BAND) as a view.
    """
    import torch

    n, c, rows, width = band.shape
    rows -= WINDOW - 1
    matrix = _banded()
    down = torch.matmul(matrix[:rows, : rows + WINDOW - 1], band)  # (N, C, rows, width)
    blocks = (width - WINDOW + 1) // BAND
    seen = down.as_strided((blocks, n * c * rows, BAND + WINDOW - 1), (BAND, width, 1))
    across = torch.bmm(seen, matrix.t().expand(blocks, -1, -1))
    return across.view(blocks, n, c, rows, BAND).transpose(0, 1)


@lru_cache(maxsize=1)
def _banded() -> Tensor:
    """Return the matrix (BAND, BAND + 10) float32 whose row i holds the window from column i on."""
    import torch

    with torch.inference_mode(False):
        window = _gaussian(WINDOW, 1.5).float()
        matrix = torch.zeros(BAND, BAND + WINDOW - 1)
        for i in range(BAND):
            matrix[i, i : i + WINDOW] = window
        return matrix


def _gaussian(size: int, sigma: float) -> Tensor:
    """Return a Gaussian window (size,) float64 whose sum is 1."""
    import torch

    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-((x / sigma) ** 2) / 2)
    return window / window.sum()


def blur(planes: Tensor) -> Tensor:
    """Convolve planes (..., H, W) float32 with the 11x11 Gaussian window, without padding: (..., H - 10, W - 10)."""
    import torch

    flat = planes.flatten(0, -3) if planes.ndim > 2 else planes[None]
    w = planes.shape[-1] - WINDOW + 1
    parts = []
    for band in _bands(flat[None], 1):
        filtered = _filter(band)[0]  # (blocks, C, rows, BAND)
        parts.append(filtered.permute(1, 2, 0, 3).flatten(2)[..., :w])
    return torch.cat(parts, -2).unflatten(0, planes.shape[:-2]) if planes.ndim > 2 else torch.cat(parts, -2)[0]


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
