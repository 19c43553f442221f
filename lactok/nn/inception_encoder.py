"""FID's Inception, frozen, as the visual encoder of a small SEED tokenizer, in place of EVA's large ViT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.inception import Inception, tf1_resize


class InceptionEncoder(nn.Module):
    """Turn images (B, 3, S, S) into tokens (B, 1 + 64, width): one for the image, then one for each of 8 x 8 positions.

    The features of a position are Inception's 2048 channels there, followed by the mean colour of the image there,
    because Inception's channels hardly tell colours. One learned linear map projects them to `width`.

    Args:
        width: number of channels of a token.
        mean, std: mean and standard deviation of each colour channel by which the incoming images are normalised.

    Attributes:
        frozen_features: the function that computes the features of the positions. It is `position_features`; training
            replaces it by a cache of it, so that the features of each image are computed once.
    """

    def __init__(self, width: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.mean = mean
        self.std = std
        self.features = Inception()
        self.proj = nn.Linear(2048 + 3, width)
        self.frozen_features: Callable[[Tensor], Tensor] = self.position_features

    def position_features(self, images: Tensor) -> Tensor:
        """Return the features (B, 64, 2048 + 3) of 8 x 8 positions of normalised images (B, 3, S, S)."""
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        images = images * std + mean  # in [0, 1]
        x = self.features.maps(tf1_resize(images * 255).to(images.dtype))[-1]  # (B, 2048, 8, 8)
        pooled = x.mean((2, 3), keepdim=True)
        x = x / pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)  # so that the mean over positions has length 1
        colours = F.adaptive_avg_pool2d(2 * images - 1, (x.shape[2], x.shape[3]))
        return torch.cat([x, colours], 1).flatten(2).transpose(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Project features of positions (B, 64, 2048 + 3) to tokens (B, 1 + 64, width); the first is of their mean."""
        return self.proj(torch.cat([features.mean(1, keepdim=True), features], 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens (B, 1 + 64, width) of normalised images (B, 3, S, S)."""
        return self.project(self.frozen_features(images))
