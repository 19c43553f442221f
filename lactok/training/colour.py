"""A loss of colours: the distance in CIELAB between blurred images.

Squared errors and LPIPS both care little for hue, and small networks trained by them alone turn green to grey. Colours
are compared after averaging, so that the loss asks for the colour of a place, not for its texture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.metrics.colour import WHITE, XYZ

SQUARES = 32  # along the shorter side of an image, whose mean colours are compared
EPSILON = 1e-3  # of a squared distance, so that equal colours have a gradient


def lab(images: Tensor) -> Tensor:
    """Return L*, a*, b*, each divided by 100, (B, 3, H, W) float32, of sRGB images (B, 3, H, W) in [-1, 1].

    Values outside of [-1, 1] are carried on linearly, so that they have a gradient.
    """
    level = images.float() / 2 + 0.5
    curved = level.clamp(0.04045, 1)
    linear = torch.where(level > 0.04045, ((curved + 0.055) / 1.055) ** 2.4 + (level - curved), level / 12.92)
    matrix = torch.tensor([[value / white for value in row] for row, white in zip(XYZ, WHITE, strict=True)])
    xyz = torch.einsum("ij,bjhw->bihw", matrix.to(linear), linear)
    stretched = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = stretched.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], 1)


def colour_error(outputs: Tensor, images: Tensor) -> Tensor:
    """Return the mean distance in CIELAB, divided by 100, of images averaged over squares.

    Args:
        outputs: reconstructions (B, 3, H, W) in [-1, 1], unclamped.
        images: the photographs.
    """
    side = max(1, min(images.shape[2:]) // SQUARES)
    with torch.autocast(images.device.type, enabled=False):
        means = [lab(F.avg_pool2d(each.float(), side)) for each in (outputs, images)]
        squared = (means[0] - means[1]).square().sum(1)
        return (squared + EPSILON**2).sqrt().mean()
