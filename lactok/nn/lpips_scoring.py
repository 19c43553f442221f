"""LPIPS for scoring many images: the same distances as `lactok.nn.lpips`, in half of the time and of the memory.

Images and weights lie channels last, the maps of a layer are compared before the next layer is computed, and the maps
of references can be kept for several comparisons.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn

from lactok.nn.lpips import LPIPS, load_lpips

EPSILON = 1e-10  # what the lpips package adds to the length that it divides by
CHUNK = 2**18  # numbers of a map that are compared at a time on the CPU, so that they stay in its cache


class ScoringLPIPS:
    """LPIPS of uint8 images by a copy of a network with its weights channels last.

    A map here is (B, P, C): C channels at each of P positions.

    Args:
        network: LPIPS with its weights.
        dtype: the dtype of the convolutions, float32 or bfloat16; maps are compared in float32.
    """

    def __init__(self, network: LPIPS, dtype: torch.dtype = torch.float32):
        net = copy.deepcopy(network.model.net)
        self.dtype = dtype
        self.slices: list[nn.Module] = [getattr(net, f"slice{i + 1}") for i in range(len(network.model.lins))]
        for layers in self.slices:
            layers.to(dtype).to(memory_format=torch.channels_last)
        self.heads = [head.model[-1].weight.flatten().double().cpu() for head in network.model.lins]
        scaling = network.model.scaling_layer
        # (x / 127.5 - 1 - shift) / scale in one product and one sum
        self.factor, self.offset = 1 / (127.5 * scaling.scale), -(1 + scaling.shift) / scaling.scale

    def maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the map of each layer for images (B, 3, H, W) uint8, before its lengths are made 1."""
        x = images.to(self.factor.device, memory_format=torch.channels_last).float()
        x = x.mul_(self.factor).add_(self.offset).to(self.dtype)
        for layers in self.slices:
            x = layers(x)
            yield x.permute(0, 2, 3, 1).flatten(1, 2)

    def reference_maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the map of each layer for images (B, 3, H, W) uint8, float32 and of length 1 at each position."""
        for found in self.maps(images):
            out = torch.empty(found.shape, dtype=torch.float32, device=found.device)
            for image, of_length_one in zip(found, out, strict=True):
                for rows in _chunks(image):
                    of_length_one[rows] = _of_length_one(image[rows])
            yield out

    def distances(self, known: Iterable[Tensor], images: Tensor) -> Tensor:
        """Return the distances (B,) float64 between references and images (B, 3, H, W) uint8.

        Args:
            known: what `reference_maps` yields for the references; a list of it can be used again.
            images: the images.
        """
        total = torch.zeros(len(images), dtype=torch.float64)
        for head, reference, found in zip(self.heads, known, self.maps(images), strict=True):
            for i in range(len(images)):
                squares = torch.zeros(found.shape[-1], dtype=torch.float64)
                for rows in _chunks(found[i]):
                    difference = _of_length_one(found[i, rows]).sub_(reference[i, rows])
                    squares += difference.square_().sum(0).double().cpu()
                total[i] += (squares @ head) / found.shape[1]
        return total


def _of_length_one(positions: Tensor) -> Tensor:
    """Return channels at positions (P, C) as float32, divided by their length at each position."""
    positions = positions.float()
    return positions / (torch.linalg.vector_norm(positions, dim=1, keepdim=True) + EPSILON)


def _chunks(positions: Tensor) -> list[slice]:
    """Return slices that cover positions (P, C): small ones on the CPU, all at once on a GPU."""
    count, channels = positions.shape
    size = max(1, CHUNK // channels) if positions.device.type == "cpu" else count
    return [slice(start, start + size) for start in range(0, count, size)]


def load_scoring_lpips(net: str, device: str = "cpu", fast: bool = False) -> ScoringLPIPS:
    """Return LPIPS with its published weights for scoring; later calls return the same network.

    Args:
        net: "alex" or "vgg".
        device: where it computes.
        fast: whether its convolutions compute in bfloat16.
    """
    return _loaded(load_lpips(net, device), fast)


@lru_cache(maxsize=4)
def _loaded(network: LPIPS, fast: bool) -> ScoringLPIPS:
    with torch.inference_mode(False):
        return ScoringLPIPS(network, torch.bfloat16 if fast else torch.float32)
