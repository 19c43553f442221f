"""LPIPS v0.1 (Zhang et al. 2018) with AlexNet and with VGG16, at the resolution of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES, LPIPS_HEADS

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.nn.lpips import Net

PIXELS = 2**21  # pixels per forward pass, to bound memory: VGG's feature maps take about 0.9 kB per pixel


@metric(
    "lpips_alex",
    title="LPIPS alex",
    higher=False,
    default=True,
    libraries=("lpips",),
    networks=(LPIPS_BACKBONES["alex"], LPIPS_HEADS["alex"]),
    flops_a_pixel=2 * 1.3e9 / 224**2,
)
def lpips_alex(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W), by AlexNet on `device`."""
    return _distances("alex", references, outputs, device)


@metric(
    "lpips_vgg",
    title="LPIPS vgg",
    higher=False,
    libraries=("lpips",),
    networks=(LPIPS_BACKBONES["vgg"], LPIPS_HEADS["vgg"]),
    flops_a_pixel=2 * 30.7e9 / 224**2,
)
def lpips_vgg(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W), by VGG16 on `device`."""
    return _distances("vgg", references, outputs, device)


def _distances(net: Net, references: Tensor, outputs: Tensor, device: str) -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W) by one of the networks."""
    import torch

    from lactok.nn.lpips import load_lpips

    network = load_lpips(net, device)
    batch_size = max(1, PIXELS // (references.shape[-1] * references.shape[-2]))
    parts = []
    for start in range(0, len(references), batch_size):
        batch = slice(start, start + batch_size)
        reference = references[batch].to(device).float() / 127.5 - 1
        output = outputs[batch].to(device).float() / 127.5 - 1
        parts.append(network(reference, output).double())
    return torch.cat(parts)
