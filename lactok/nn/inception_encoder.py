"""FID's Inception, frozen, as the visual encoder of a small SEED tokenizer, in place of EVA's large ViT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.inception import Inception, tf1_resize


class InceptionEncoder(nn.Module):
    """Images (B, 3, S, S) -> tokens (B, 1 + 64, width): one of the whole image, then one for each of 8 x 8 positions.

    The features of a position are Inception's 2048 channels there, followed by its mean colour, which Inception hardly
    keeps. One learned linear map projects them to `width`.

    Args:
        width: of the tokens.
        mean, std: of each colour; images are normalised by them when they come in.

    Attributes:
        frozen_features: the function that computes the features of the positions: `position_features`, or what a
            training puts in its place in order to compute those of each image once.
    """

    def __init__(self, width: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.mean = mean
        self.std = std
        self.features = Inception()
        self.proj = nn.Linear(2048 + 3, width)
        self.frozen_features: Callable[[Tensor], Tensor] = self.position_features

    def position_features(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) -> features of 8 x 8 positions (B, 64, 2048 + 3)."""
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        images = images * std + mean  # in [0, 1]
        x = self.features.maps(tf1_resize(images * 255).to(images.dtype))[-1]  # (B, 2048, 8, 8)
        pooled = x.mean((2, 3), keepdim=True)
        x = x / pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)  # so that the pooled features have length 1
        colours = F.adaptive_avg_pool2d(2 * images - 1, (x.shape[2], x.shape[3]))
        return torch.cat([x, colours], 1).flatten(2).transpose(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Features of the positions (B, 64, 2048 + 3) -> tokens (B, 1 + 64, width), that of their mean first."""
        return self.proj(torch.cat([features.mean(1, keepdim=True), features], 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.frozen_features(images))
