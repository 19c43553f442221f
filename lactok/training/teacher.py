"""What SeedTok is taught by in place of CLIP: AlexNet's features as an image embedding, VGG's for what pictures show.

SEED's teacher is CLIP ViT-H. `Teacher` is LPIPS's AlexNet: unit-normalised feature maps, averaged over the picture and
over a coarse grid, beside coarse colours, brought to a few numbers by principal components of the training photographs.
`Content` are averages of LPIPS's VGG feature maps, which say what textures and parts a picture has, not where.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.errors import UserError
from lactok.perceptual import LPIPS

WIDTHS = (64, 192, 384, 256, 256)  # of AlexNet's five layers
# (layer, side of the grid) of each group; -1 is the picture itself
GROUPS = ((0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (2, 4), (4, 4), (-1, 8))


class Teacher(nn.Module):
    """Embeddings with mean zero; a component's deviation is the square root of its principal component's.

    That is half of whitening: small components count, but less than large ones.

    Args:
        features: width of an embedding.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, features: int):
        super().__init__()
        width = sum(side**2 * (WIDTHS[layer] if layer >= 0 else 3) for layer, side in GROUPS)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("projection", torch.zeros(width, features))

    @property
    def fitted(self) -> bool:
        return bool(self.projection.any())

    def vectors(self, maps: Sequence[Tensor], images: Tensor) -> Tensor:
        """LPIPS's features of images, and the images (B, 3, S, S) in [-1, 1] -> (B, width), not yet projected."""
        groups = []
        for layer, side in GROUPS:
            source = maps[layer] if layer >= 0 else images
            groups.append(F.adaptive_avg_pool2d(source.float(), side).flatten(1))
        return torch.cat(groups, 1)

    def forward(self, maps: Sequence[Tensor], images: Tensor) -> Tensor:
        """The same -> embeddings (B, features) of mean zero and deviation about 1."""
        return (self.vectors(maps, images) - self.mean) @ self.projection

    def embed(self, lpips: LPIPS, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] -> (B, features)."""
        return self(lpips.features(images), images)

    @torch.no_grad()
    def fit(self, vectors: Tensor) -> None:
        """Principal components of `vectors` (N, width), each group of which gets the same variance.

        Raises:
            UserError: fewer pictures than components.
        """
        features = self.projection.shape[1]
        if len(vectors) <= features:
            raise UserError(f"features = {features} needs more training pictures than {len(vectors)}")
        mean = vectors.mean(0)
        centred = vectors - mean
        scale = torch.empty_like(mean)
        start = 0
        for layer, side in GROUPS:
            end = start + side**2 * (WIDTHS[layer] if layer >= 0 else 3)
            scale[start:end] = centred[:, start:end].square().sum(1).mean().rsqrt()
            start = end
        scaled = centred * scale
        variances, directions = torch.linalg.eigh(scaled @ scaled.t() / len(scaled))
        variances, directions = variances.flip(0)[:features], directions.flip(1)[:, :features]
        # directions of the pictures -> of the features: of length 1, then deviation sqrt(variance) becomes its root
        components = scaled.t() @ directions / (len(scaled) * variances).sqrt()
        components = components * variances ** (-0.25)
        components = components / variances.sqrt().mean().sqrt()
        self.mean.copy_(mean)
        self.projection.copy_(scale[:, None] * components)


class Content(nn.Module):
    """Features of VGG's five layers, averaged over a whole picture, which is seen at half its side.

    Attributes:
        mean: (5, width) of training photographs, each layer's in the first channels.
    """

    WIDTHS = (64, 128, 256, 512, 512)
    mean: Tensor

    def __init__(self, vgg: LPIPS):
        super().__init__()
        self.vgg = vgg
        self.register_buffer("mean", torch.zeros(len(self.WIDTHS), max(self.WIDTHS)))

    @property
    def fitted(self) -> bool:
        return bool(self.mean.any())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, S, S) in [-1, 1] -> for each layer (B, width), relative to the mean of photographs."""
        maps = self.vgg.features(F.avg_pool2d(images, 2))
        return [m.float().mean((2, 3)) - mean[: m.shape[1]] for m, mean in zip(maps, self.mean, strict=True)]

    @torch.no_grad()
    def fit(self, photographs: Sequence[Tensor]) -> None:
        """The mean, from batches (B, 3, S, S)."""
        found = [self(images) for images in photographs]
        for mean, vectors in zip(self.mean, zip(*found, strict=True), strict=True):
            mean[: vectors[0].shape[1]] += torch.cat(vectors).mean(0)
