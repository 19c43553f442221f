"""DISTS (Ding et al. 2020): how different structure and texture are, by VGG16; it forgives displaced texture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric
from lactok.nn.dists_checkpoint import DISTS_WEIGHTS
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES

if TYPE_CHECKING:
    from torch import Tensor


@metric(
    "dists",
    title="DISTS",
    higher=False,
    networks=(LPIPS_BACKBONES["vgg"], DISTS_WEIGHTS),
    flops_a_pixel=2 * 30.7e9 / 224**2,
)
def dists(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the DISTS distances (B,) float64 between uint8 images (B, 3, H, W), at their own resolution.

    It is 0 for equal images and seldom above 1. The authors' code shrinks images to a shorter side of 256 px when it is
    asked to; this does not, like pyiqa and torchmetrics. A pair of 1024 px takes about as long as LPIPS with VGG16.
    """
    import torch

    from lactok.nn.dists import load_dists

    network = load_dists(device)
    found = []
    for reference, output in zip(references, outputs, strict=True):  # VGG's maps take about 0.9 kB a pixel
        pair = torch.stack([output, reference]).to(device).float() / 255
        found.append(network(pair[:1], pair[1:]).cpu())
    return torch.cat(found)
