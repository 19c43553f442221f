"""The patch discriminator of VQGAN and its hinge losses (Esser et al. 2021, section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> (B, 1, h, w) scores, one for each patch.

    GroupNorm instead of pix2pix's BatchNorm, so that small batches train and a score does not depend on neighbours.
    """

    def __init__(self, channels: int = 32, layers: int = 3):
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = channels
        for i in range(1, layers + 1):
            following = channels * min(2**i, 8)
            stride = 2 if i < layers else 1
            blocks += [
                nn.Conv2d(width, following, 4, stride, 1, bias=False),
                nn.GroupNorm(8, following),
                nn.LeakyReLU(0.2),
            ]
            width = following
        self.net = nn.Sequential(*blocks, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator from its scores."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Ratio of the two losses' gradient norms at the decoder's last layer, at most 10^4 (VQGAN, equation 7)."""
    first = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0].norm()
    second = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0].norm()
    return (first / (second + 1e-4)).clamp(0, 1e4).detach()
