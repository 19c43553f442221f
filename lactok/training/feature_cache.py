"""A cache of what frozen networks compute from training images, for recipes in which the same images come again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]  # (B, 3, S, S) -> (B, ...); a row does not depend on the rest of the batch


class FeatureCache:
    """Calls the function of a frozen network without gradient and keeps the results.

    A result is found again by the content of its image. Results are computed one image at a time in float32, so that
    they do not depend on what is in the cache already and a resumed run gives the same bits.

    Args:
        compute: the function.
        keep: False to call the function every time, on the whole batch, and to keep nothing.
    """

    def __init__(self, compute: Compute, keep: bool):
        self.compute, self.keep = compute, keep
        self.results: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the function's results (B, ...) for images (B, 3, S, S), on the images' device."""
        if not self.keep:
            return self.compute(images)
        keys = [hashlib.blake2b(image.cpu().contiguous().numpy(), digest_size=16).digest() for image in images]
        with torch.autocast(images.device.type, enabled=False):
            for key, image in zip(keys, images, strict=True):
                if key not in self.results:
                    self.results[key] = self.compute(image[None]).cpu()
        return torch.cat([self.results[key] for key in keys]).to(images.device)
