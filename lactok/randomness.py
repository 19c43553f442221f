"""Seeds and noise that belong to one image, so that neither depends on the batch that the image is in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def seed_of(*parts: object) -> int:
    """Hash any parts to a seed in [0, 2^63), the same on every machine: `seed_of(run_seed, sample_id)`.

    >>> seed_of(0, "coco/000000000139")
    5645319915669970514
    """
    text = "\x1f".join(map(str, parts))
    # names of files that are not UTF-8 hold halves of surrogate pairs
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def noise(seeds: Tensor, shape: tuple[int, ...], stream: str) -> Tensor:
    """Draw standard normal noise, independently for each image.

    Args:
        seeds: (B,) int64, one for each image.
        shape: the shape of one image's noise.
        stream: a name for the use ("start", "posterior", "renoise 1"); streams of one seed are independent.

    Returns:
        (B, *shape) float32 on the CPU, so that every device gets the same numbers: move it where it is needed.
    """
    import torch

    return _drawn(torch.randn, seeds, shape, stream)


def uniform(seeds: Tensor, shape: tuple[int, ...], stream: str) -> Tensor:
    """Draw numbers from 0 to 1, neither included, independently for each image; arguments and result as of `noise`."""
    import torch

    tiny = torch.finfo(torch.float32).tiny
    return _drawn(torch.rand, seeds, shape, stream).clamp(min=tiny)


def _drawn(draw: Callable[..., Tensor], seeds: Tensor, shape: tuple[int, ...], stream: str) -> Tensor:
    """Draw for each image from the generator of its seed and stream; (B, *shape) float32 on the CPU."""
    import torch

    draws = []
    for seed in seeds.tolist():
        generator = torch.Generator().manual_seed(seed_of(seed, stream))
        draws.append(draw(shape, generator=generator))
    return torch.stack(draws)
