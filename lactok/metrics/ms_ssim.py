"""Multi-scale structural similarity, MS-SSIM (Wang et al. 2003), as torchmetrics computes it without normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric
from lactok.metrics.ssim import blur, structural_similarity

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, from the full size to a sixteenth of it
SMALLEST = 11 * 2 ** (len(WEIGHTS) - 1)  # pixels of a side: the window fits into the smallest scale


@metric("ms_ssim", title="MS-SSIM", higher=True, smallest=SMALLEST, flops_a_pixel=600)
def ms_ssim(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the MS-SSIM (B,) float64 between uint8 images (B, 3, H, W); nan where it is not defined.

    It is torchmetrics' MultiScaleStructuralSimilarityIndexMeasure with `data_range=1.0, normalize=None`. At each scale
    but the last, the mean of the contrast and structure terms is raised to a power below 1. That mean is negative for
    two images that are about as far from each other as different photographs are, and then there is no value. The
    others are at most 1, for equal images. Images with a side shorter than `SMALLEST` have no value either. It costs
    about a third more than SSIM.
    """
    import torch
    import torch.nn.functional as F

    if min(references.shape[-2:]) < SMALLEST:
        return torch.full((len(references),), torch.nan, dtype=torch.float64)
    values = []
    for reference, output in zip(references, outputs, strict=True):
        pair = torch.stack([reference, output]).float() / 255
        value = torch.ones((), dtype=torch.float64)
        for weight in WEIGHTS[:-1]:
            value = value * _contrast(pair[0], pair[1]) ** weight
            pair = F.avg_pool2d(pair, 2)
        value = value * structural_similarity(pair[:1], pair[1:], reflect=True)[0] ** WEIGHTS[-1]
        values.append(value)
    return torch.stack(values)


def _contrast(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of SSIM's contrast and structure terms, () float64, of two images (C, H, W) in [0, 1]."""
    import torch

    mean_x, mean_y, xx, yy, xy = blur(torch.stack([first, second, first * first, second * second, first * second]))
    c2 = 0.03**2
    covariance = xy - mean_x * mean_y
    variances = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
    return ((2 * covariance + c2) / (variances + c2)).double().mean()
