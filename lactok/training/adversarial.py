"""The patch discriminator of VQGAN and its losses (Esser et al. 2021, section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Scores every patch of an image: (B, 3, H, W) in [-1, 1] -> logits (B, 1, h, w).

    It has GroupNorm where pix2pix has BatchNorm, so that it trains with small batches and the score of an image does
    not depend on the rest of the batch.

    Args:
        channels: width of the first layer.
        layers: number of further convolutions before the last one.
    """

    def __init__(self, channels: int = 32, layers: int = 3):
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = channels
        for i in range(1, layers + 1):
            next_width = channels * min(2**i, 8)
            stride = 2 if i < layers else 1
            blocks += [
                nn.Conv2d(width, next_width, 4, stride, 1, bias=False),
                nn.GroupNorm(8, next_width),
                nn.LeakyReLU(0.2),
            ]
            width = next_width
        self.net = nn.Sequential(*blocks, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, 1, h, w) of images (B, 3, H, W) in [-1, 1]."""
        return self.net(images)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's hinge loss from its logits (B, 1, h, w) for real and for reconstructed images."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Return the weight that brings both losses' gradients at the decoder's last layer to the same norm.

    The weight is at most 10^4 and has no gradient (VQGAN, equation 7).
    """
    reconstruction_norm = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0].norm()
    adversarial_norm = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0].norm()
    return (reconstruction_norm / (adversarial_norm + 1e-4)).clamp(0, 1e4).detach()
