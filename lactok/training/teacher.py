"""What SeedTok is taught by in place of CLIP: AlexNet's features and Inception's, as an image embedding.

SEED's teacher is CLIP ViT-H. `Teacher` is made of LPIPS's AlexNet (unit-length maps, averaged over the picture), of
coarse colours and of FID's Inception (pooled), brought to a few numbers by principal components of the training
photographs. `Content` says by Inception alone whether a picture shows the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.errors import UserError
from lactok.nn.inception import INCEPTION_MAPS, Inception, tf1_resize
from lactok.nn.lpips import LPIPS

COLOURS = 8  # side of the grid
# of AlexNet's five layers, the colours and Inception's features: their widths and shares of the variance
WIDTHS = (64, 192, 384, 256, 256, 3 * COLOURS**2, 2048)
SHARES = (0.5, 0.5, 0.5, 0.5, 0.5, 1, 6)
LAYERS = tuple(INCEPTION_MAPS.values())


def inception_features(inception: Inception, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1] -> averages of Inception's maps, each of length 1, (B, sum of LAYERS)."""
    seen = tf1_resize((images.clamp(-1, 1) + 1) * 127.5).contiguous(memory_format=torch.channels_last)
    return torch.cat([F.normalize(m.float().mean((2, 3)), dim=1) for m in inception.maps(seen)], 1)


def fid_features(features: Tensor) -> Tensor:
    """The last of `inception_features` (B, sum of LAYERS) -> (B, 2048)."""
    return features[:, -LAYERS[-1] :]


def described(lpips: LPIPS, features: Tensor, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1] and their `inception_features` -> what `Teacher` projects, (B, sum of WIDTHS)."""
    maps = [m.float().mean((2, 3)) for m in lpips.features(images)]
    colours = F.adaptive_avg_pool2d(images.float(), COLOURS).flatten(1)
    return torch.cat([*maps, colours, fid_features(features)], 1)


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
        self.register_buffer("mean", torch.zeros(sum(WIDTHS)))
        self.register_buffer("projection", torch.zeros(sum(WIDTHS), features))

    @property
    def fitted(self) -> bool:
        return bool(self.projection.any())

    def forward(self, vectors: Tensor) -> Tensor:
        """What `described` says (B, width) -> embeddings (B, features) of mean zero and deviation about 1."""
        return (vectors - self.mean) @ self.projection

    @torch.no_grad()
    def start(self, projection: nn.Linear) -> None:
        """Let a map of Inception's features (and what else it reads) begin as their part of the embedding."""
        rows = self.projection[-WIDTHS[-1] :]
        width = min(rows.shape[1], projection.out_features)
        projection.weight[:width, : len(rows)] = rows.t()[:width]
        projection.bias[:width] = -(self.mean[-len(rows) :] @ rows)[:width]

    @torch.no_grad()
    def fit(self, vectors: Tensor) -> None:
        """Principal components of `vectors` (N, width), each group of which gets its share of the variance.

        Raises:
            UserError: fewer pictures than components.
        """
        features = self.projection.shape[1]
        if len(vectors) <= features:
            raise UserError(f"features = {features} needs more training pictures than {len(vectors)}")
        mean = vectors.mean(0)
        centred = vectors - mean
        groups = centred.split(WIDTHS, 1)
        scale = torch.cat(
            [
                (share / group.square().sum(1).mean()).sqrt().expand(group.shape[1])
                for share, group in zip(SHARES, groups, strict=True)
            ]
        )
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
    """How near pictures are to photographs by `inception_features`.

    Attributes:
        mean: of training photographs, (sum of LAYERS,).
        photographs: their last features (N, 2048).
    """

    mean: Tensor
    photographs: Tensor

    def __init__(self, photographs: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(sum(LAYERS)))
        self.register_buffer("photographs", torch.zeros(photographs, LAYERS[-1]))

    @property
    def fitted(self) -> bool:
        return bool(self.mean.any())

    def unlike(self, shown: Tensor, meant: Tensor) -> list[Tensor]:
        """One minus the cosine similarity of features relative to the mean, of each layer a mean over the batch."""
        first, second = ((features - self.mean).split(LAYERS, 1) for features in (shown, meant))
        return [1 - F.cosine_similarity(a, b).mean() for a, b in zip(first, second, strict=True)]

    def far(self, shown: Tensor) -> Tensor:
        """One minus the cosine similarity of features to the mean itself: of all layers, and again of the last."""
        pairs = zip(shown.split(LAYERS, 1), self.mean[None].split(LAYERS, 1), strict=True)
        far = torch.stack([1 - F.cosine_similarity(a, b).mean() for a, b in pairs])
        return far.mean() + 2 * far[-1]

    def contrast(self, shown: Tensor, meant: Tensor, temperature: float) -> Tensor:
        """Cross entropy of which training photographs are the nearest by the last layer, for `shown` as for `meant`."""
        with torch.autocast(shown.device.type, enabled=False):
            first, second = (fid_features(f) @ self.photographs.t() / temperature for f in (shown, meant))
        return F.cross_entropy(first, second.softmax(1))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take features (N, sum of LAYERS) of training photographs."""
        self.photographs.copy_(fid_features(features))
        self.mean.copy_(features.mean(0))
