"""FID's Inception as a small visual encoder, frozen, where SEED has EVA's ViT-g."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.inception import Inception, tf1_resize


class InceptionEncoder(nn.Module):
    """Images (B, 3, S, S) -> (B, 1 + 64, width): the pooled features, then those of the places they are pooled from.

    The 2048 features are of the length that makes the pooled ones 1; beside the mean colour there, which they hardly
    know, they are brought to `width` by one learned map.

    Args:
        mean, std: by which the images come normalised.
    """

    def __init__(self, width: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.mean, self.std = mean, std
        self.features = Inception()
        self.proj = nn.Linear(2048 + 3, width)
        self.seen: Callable[[Tensor], Tensor] = self.places  # a training may remember what the frozen part sees

    def places(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) -> what Inception and the colours say of 8 x 8 places, (B, 64, 2048 + 3)."""
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        images = images * std + mean
        *_, x = self.features.maps(tf1_resize(images * 255).to(images.dtype))
        colours = F.adaptive_avg_pool2d(2 * images - 1, (x.shape[2], x.shape[3]))
        x = torch.cat([x / x.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True).clamp(min=1e-6), colours], 1)
        return x.flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.brought(self.seen(images))

    def brought(self, places: Tensor) -> Tensor:
        """What `places` returns (B, 64, 2048 + 3) -> (B, 1 + 64, width)."""
        return self.proj(torch.cat([places.mean(1, keepdim=True), places], 1))
