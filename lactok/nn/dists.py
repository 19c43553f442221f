"""The network of DISTS (Ding et al. 2020): VGG16 with smooth pooling, whose channels are compared as SSIM does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError
from lactok.nn.dists_checkpoint import DISTS_WEIGHTS
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES

# the convolutions of torchvision's VGG16, by layer, that lie between two poolings; each is followed by a ReLU
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image and of the stages
C1 = C2 = 1e-6  # keep the ratios finite
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DISTS(nn.Module):
    """DISTS of pairs of images; it has no weights until `load_tensors` is called."""

    mean: Tensor
    std: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        width, self.convolutions = 3, nn.ModuleDict()
        for stage, out in zip(STAGES, CHANNELS[1:], strict=True):
            for layer in stage:
                self.convolutions[str(layer)] = nn.Conv2d(width, out, 3, padding=1)
                width = out
        self.alpha = nn.Parameter(torch.zeros(sum(CHANNELS)))  # weights of the means, the texture
        self.beta = nn.Parameter(torch.zeros(sum(CHANNELS)))  # weights of the covariances, the structure
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        hann = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("window", torch.outer(hann, hann), persistent=False)
        self.eval()

    def load_tensors(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """Load the weights and freeze them.

        Args:
            backbone: `N.weight` and `N.bias` of the convolutions of torchvision's `features`.
            heads: `alpha` and `beta`, each with a number for every channel of the image and the stages.

        Raises:
            UserError: a tensor is missing, has another shape, or values that are not finite.
        """
        state = {f"convolutions.{name}": tensor for name, tensor in backbone.items()}
        try:
            state |= {name: heads[name].flatten() for name in ("alpha", "beta")}
        except KeyError as error:
            raise UserError(f"the weights of DISTS have no {error}") from None
        weights.load_strict(self, state, "DISTS")
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [0, 1] -> themselves and the output (B, C, h, w) of each of the five stages."""
        found, x = [images], (images - self.mean) / self.std
        for stage in STAGES:
            if len(found) > 1:
                x = self._pooled(x)
            for layer in stage:
                x = F.relu(self.convolutions[str(layer)](x))
            found.append(x)
        return found

    def _pooled(self, x: Tensor) -> Tensor:
        """Halve maps (B, C, H, W) by the root of the local mean of squares, with a Hann window of 3 x 3."""
        kernel = self.window.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x * x, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two batches of images (B, 3, H, W) in [0, 1] -> the distances of their pairs (B,) float64."""
        total = (self.alpha.double().sum() + self.beta.double().sum()).reshape(1)
        similarity = torch.zeros(len(first), dtype=torch.float64, device=first.device)
        alphas, betas = (w.double().split(CHANNELS) for w in (self.alpha, self.beta))
        for a, b, alpha, beta in zip(self.features(first), self.features(second), alphas, betas, strict=True):
            x, y = a.flatten(2).double(), b.flatten(2).double()
            mean_x, mean_y = x.mean(2), y.mean(2)
            texture = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
            x, y = x - mean_x[..., None], y - mean_y[..., None]
            structure = (2 * (x * y).mean(2) + C2) / ((x * x).mean(2) + (y * y).mean(2) + C2)
            similarity += (alpha * texture + beta * structure).sum(1)
        return 1 - similarity / total


def load_dists(device: str = "cpu") -> DISTS:
    """Return DISTS with its published weights, frozen, on `device`; later calls return the same network."""
    files = (weights.resolve(LPIPS_BACKBONES["vgg"]), weights.resolve(DISTS_WEIGHTS))
    return _loaded(device, tuple(file.sha256 for file in files))


@lru_cache(maxsize=2)
def _loaded(device: str, _digests: tuple[str, ...]) -> DISTS:
    """Load DISTS; the digests are an argument so that other weights are loaded anew."""
    with torch.inference_mode(False):
        module = DISTS()
        module.load_tensors(weights.load(LPIPS_BACKBONES["vgg"]), weights.load(DISTS_WEIGHTS))
        return module.to(device)
