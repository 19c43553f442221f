"""LPIPS v0.1 (Zhang et al. 2018) with AlexNet and with VGG16, at the resolution of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES, LPIPS_HEADS

if TYPE_CHECKING:
    from torch import Tensor

    Maps = list[list[Tensor]]  # of references: the maps of the layers for each forward pass

PIXELS = 2**21  # pixels per forward pass, to bound memory: VGG's feature maps take about 0.5 kB per pixel


def alex_maps(references: Tensor, device: str = "cpu", fast: bool = False) -> Maps:
    """Return AlexNet's maps of references (B, 3, H, W) uint8, as `lpips_alex` takes them."""
    return _reference_maps("alex", references, device, fast)


def vgg_maps(references: Tensor, device: str = "cpu", fast: bool = False) -> Maps:
    """Return VGG16's maps of references (B, 3, H, W) uint8, as `lpips_vgg` takes them."""
    return _reference_maps("vgg", references, device, fast)


@metric(
    "lpips_alex",
    title="LPIPS alex",
    higher=False,
    default=True,
    version=2,
    libraries=("lpips",),
    networks=(LPIPS_BACKBONES["alex"], LPIPS_HEADS["alex"]),
    flops_a_pixel=2 * 1.3e9 / 224**2,
    reference_part=alex_maps,
    fast=True,
)
def lpips_alex(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: Maps | None = None, fast: bool = False
) -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W), by AlexNet on `device`.

    Args:
        references, outputs: the images.
        device: where the network computes.
        known: what `alex_maps` returns for the references, where it is known already.
        fast: whether the network computes in bfloat16.
    """
    return _distances("alex", references, outputs, device, known, fast)


@metric(
    "lpips_vgg",
    title="LPIPS vgg",
    higher=False,
    version=2,
    libraries=("lpips",),
    networks=(LPIPS_BACKBONES["vgg"], LPIPS_HEADS["vgg"]),
    flops_a_pixel=2 * 30.7e9 / 224**2,
    reference_part=vgg_maps,
    fast=True,
)
def lpips_vgg(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: Maps | None = None, fast: bool = False
) -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W), by VGG16; see `lpips_alex`."""
    return _distances("vgg", references, outputs, device, known, fast)


def _passes(images: Tensor) -> list[slice]:
    """Return the slices of images (B, 3, H, W) that go through the network together."""
    size = max(1, PIXELS // (images.shape[-1] * images.shape[-2]))
    return [slice(start, start + size) for start in range(0, len(images), size)]


def _reference_maps(net: str, references: Tensor, device: str, fast: bool) -> Maps:
    """Return the maps of references (B, 3, H, W) uint8 by one of the networks."""
    from lactok.nn.lpips_scoring import load_scoring_lpips

    network = load_scoring_lpips(net, device, fast)
    return [list(network.reference_maps(references[batch])) for batch in _passes(references)]


def _distances(net: str, references: Tensor, outputs: Tensor, device: str, known: Maps | None, fast: bool) -> Tensor:
    """Return the LPIPS distances (B,) float64 between uint8 images (B, 3, H, W) by one of the networks."""
    import torch

    from lactok.nn.lpips_scoring import load_scoring_lpips

    network = load_scoring_lpips(net, device, fast)
    parts = []
    for i, batch in enumerate(_passes(references)):
        maps = known[i] if known is not None else network.reference_maps(references[batch])
        parts.append(network.distances(maps, outputs[batch]))
    return torch.cat(parts)
