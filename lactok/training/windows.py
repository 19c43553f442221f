"""Random squares of images and of the maps that they are decoded from, so that a step decodes a part of each image."""

from __future__ import annotations

import torch
from torch import Tensor

from lactok.randomness import seed_of


def random_windows(maps: Tensor, images: Tensor, seeds: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cut a random square out of each image.

    Args:
        maps: codes or latents (B, C, h, w).
        images: the images (B, 3, h * patch, w * patch).
        seeds: one seed per image, (B,).
        side: of the square, in places of the maps.

    Returns:
        The squares of the maps (B, C, side, side) and of the images (B, 3, side * patch, side * patch).
    """
    patch = images.shape[-1] // maps.shape[-1]
    offsets = maps.shape[-1] - side + 1  # number of possible offsets along a side
    some, pixels = [], []
    for i, seed in enumerate(seeds.tolist()):
        top, left = divmod(seed_of(seed, "window", 0) % offsets**2, offsets)
        some.append(maps[i, :, top : top + side, left : left + side])
        rows = slice(top * patch, (top + side) * patch)
        columns = slice(left * patch, (left + side) * patch)
        pixels.append(images[i, :, rows, columns])
    layout = torch.channels_last
    return torch.stack(some).contiguous(memory_format=layout), torch.stack(pixels).contiguous(memory_format=layout)
