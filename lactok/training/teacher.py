"""SeedTok's teachers: an image embedding in place of CLIP's, and a loss of content.

SEED's teacher is CLIP ViT-H. Here `Teacher` projects features of an image onto a few principal components of the
training photographs: the feature maps of LPIPS's AlexNet (normalised, averaged over the image), coarse colours, and the
pooled features of FID's Inception. `Content` compares images by the features of one network, averaged over the image:
Inception, or AlexNet where Inception is to stay a judge that has not taught.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.errors import UserError
from lactok.nn.inception import INCEPTION_MAPS, Inception, tf1_resize
from lactok.nn.lpips import LPIPS

COLOUR_GRID = 8  # side of the grid of mean colours
# the groups of features that the teacher projects: AlexNet's five layers, the colours and Inception's pooled features
WIDTHS = (64, 192, 384, 256, 256, 3 * COLOUR_GRID**2, 2048)
SHARES = (0.5, 1.0, 6.0)  # the variance of a layer of AlexNet, of the colours and of Inception, relative to the others
# widths of the feature maps that `Content` compares, by the name of the network
LAYERS = {"inception": tuple(INCEPTION_MAPS.values()), "alex": (64, 192, 384, 256, 256)}


def inception_features(inception: Inception, images: Tensor) -> Tensor:
    """Return the spatial means of Inception's feature maps, each normalised to length 1, (B, sum of the widths).

    Args:
        inception: the network.
        images: (B, 3, S, S) in [-1, 1]; values outside are clamped.
    """
    resized = tf1_resize((images.clamp(-1, 1) + 1) * 127.5).contiguous(memory_format=torch.channels_last)
    return torch.cat([F.normalize(m.float().mean((2, 3)), dim=1) for m in inception.maps(resized)], 1)


def alex_features(lpips: LPIPS, images: Tensor) -> Tensor:
    """Return the same of the feature maps of LPIPS's AlexNet, which have length 1 at each place, (B, 1152).

    Args:
        lpips: LPIPS with AlexNet.
        images: (B, 3, S, S) in [-1, 1]; values outside are clamped.
    """
    maps = lpips.features(images.clamp(-1, 1))
    return torch.cat([F.normalize(m.float().mean((2, 3)), dim=1) for m in maps], 1)


def fid_features(features: Tensor) -> Tensor:
    """Return the last layer's part (B, 2048) of what `inception_features` returns."""
    return features[:, -LAYERS["inception"][-1] :]


def teacher_features(lpips: LPIPS, features: Tensor, images: Tensor) -> Tensor:
    """Return the features of images that `Teacher` projects, (B, sum of WIDTHS).

    Args:
        lpips: LPIPS with AlexNet.
        features: what `inception_features` returns for the images.
        images: (B, 3, S, S) in [-1, 1].
    """
    maps = [m.float().mean((2, 3)) for m in lpips.features(images)]
    colours = F.adaptive_avg_pool2d(images.float(), COLOUR_GRID).flatten(1)
    return torch.cat([*maps, colours, fid_features(features)], 1)


class Teacher(nn.Module):
    """Projects features of images onto embeddings of mean zero, by principal components of the training photographs.

    A component is divided by the square root of its standard deviation. That is half of whitening: small components
    count more than without it, but still less than large ones.

    Args:
        features: width of an embedding.
        shares: the variances of the groups of features, as `SHARES`.

    Attributes:
        mean: mean of the training photographs' features, (sum of WIDTHS,).
        projection: (sum of WIDTHS, features).
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, features: int, shares: tuple[float, ...] = SHARES):
        super().__init__()
        alex, colours, inception = shares
        self.shares = (*[alex] * len(LAYERS["alex"]), colours, inception)
        self.register_buffer("mean", torch.zeros(sum(WIDTHS)))
        self.register_buffer("projection", torch.zeros(sum(WIDTHS), features))

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, or its result was loaded."""
        return bool(self.projection.any())

    def forward(self, vectors: Tensor) -> Tensor:
        """Project `teacher_features` (B, sum of WIDTHS) onto embeddings (B, features) of standard deviation about 1."""
        return (vectors - self.mean) @ self.projection

    @torch.no_grad()
    def initialise_projection(self, projection: nn.Linear) -> None:
        """Let a linear layer that reads Inception's features start as the teacher's projection of these features.

        What else the layer reads, after the features, keeps its initial weights.
        """
        rows = self.projection[-WIDTHS[-1] :]
        width = min(rows.shape[1], projection.out_features)
        projection.weight[:width, : len(rows)] = rows.t()[:width]
        projection.bias[:width] = -(self.mean[-len(rows) :] @ rows)[:width]

    @torch.no_grad()
    def fit(self, vectors: Tensor) -> None:
        """Compute the principal components of the training photographs' features.

        Args:
            vectors: what `teacher_features` returns for N images, (N, sum of WIDTHS).

        Raises:
            UserError: there are not more images than components.
        """
        features = self.projection.shape[1]
        if len(vectors) <= features:
            raise UserError(f"features = {features} needs more training pictures than {len(vectors)}")
        mean = vectors.mean(0)
        centred = vectors - mean
        scales = []  # the factors that give each group its share of the variance
        for share, group in zip(self.shares, centred.split(WIDTHS, 1), strict=True):
            scales.append((share / group.square().sum(1).mean()).sqrt().expand(group.shape[1]))
        scale = torch.cat(scales)
        scaled = centred * scale
        # eigenvectors of the images' Gram matrix (N, N), which is smaller than the covariance of the features
        variances, directions = torch.linalg.eigh(scaled @ scaled.t() / len(scaled))
        variances, directions = variances.flip(0)[:features], directions.flip(1)[:, :features]  # largest first
        components = scaled.t() @ directions / (len(scaled) * variances).sqrt()  # of the features, of length 1
        components = components * variances ** (-0.25)  # half of whitening
        components = components / variances.sqrt().mean().sqrt()  # embeddings of mean variance 1
        self.mean.copy_(mean)
        self.projection.copy_(scale[:, None] * components)


class Content(nn.Module):
    """Compares the features of images, of one network's layers, with those of photographs.

    Args:
        photographs: number N of training photographs.
        network: a key of `LAYERS`; features are those of `inception_features` or `alex_features`.

    Attributes:
        layers: the widths of the layers.
        mean: mean of the training photographs' features, (sum of the widths,).
        photographs: the last layer's features of each training photograph, (N, its width).
    """

    mean: Tensor
    photographs: Tensor

    def __init__(self, photographs: int, network: str = "inception"):
        super().__init__()
        self.layers = LAYERS[network]
        self.register_buffer("mean", torch.zeros(sum(self.layers)))
        self.register_buffer("photographs", torch.zeros(photographs, self.layers[-1]))

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, or its result was loaded."""
        return bool(self.mean.any())

    def distances(self, outputs: Tensor, photos: Tensor) -> list[Tensor]:
        """Return one minus the cosine similarity of features relative to the mean, for each layer.

        The values are means over the batch.

        Args:
            outputs: features (B, sum of the widths) of the decoded images.
            photos: features of their photographs.
        """
        first = (outputs - self.mean).split(self.layers, 1)
        second = (photos - self.mean).split(self.layers, 1)
        return [1 - F.cosine_similarity(a, b).mean() for a, b in zip(first, second, strict=True)]

    def distance_to_mean(self, outputs: Tensor) -> Tensor:
        """Return one minus the cosine similarity of features (B, sum of the widths) to the photographs' mean.

        It is averaged over the layers, and twice that of the last layer is added.
        """
        pairs = zip(outputs.split(self.layers, 1), self.mean[None].split(self.layers, 1), strict=True)
        distances = torch.stack([1 - F.cosine_similarity(a, b).mean() for a, b in pairs])
        return distances.mean() + 2 * distances[-1]

    def contrast(self, outputs: Tensor, photos: Tensor, temperature: float) -> Tensor:
        """Return the cross-entropy between the training photographs that are nearest to the outputs and to the photos.

        The logits of an image are its cosine similarities to all training photographs, by the last layer's features,
        divided by the temperature.

        Args:
            outputs: features (B, sum of the widths) of the decoded images.
            photos: features of their photographs, which give the target distribution.
            temperature: the temperature.
        """
        with torch.autocast(outputs.device.type, enabled=False):
            logits = self._last(outputs) @ self.photographs.t() / temperature
            target_logits = self._last(photos) @ self.photographs.t() / temperature
        return F.cross_entropy(logits, target_logits.softmax(1))

    def _last(self, features: Tensor) -> Tensor:
        """Return the last layer's part of features."""
        return features[:, -self.layers[-1] :]

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Store the features (N, sum of the widths) of all training photographs."""
        self.photographs.copy_(self._last(features))
        self.mean.copy_(features.mean(0))
