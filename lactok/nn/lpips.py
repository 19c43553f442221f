"""LPIPS v0.1 (Zhang et al. 2018): lpips's own network, from checked files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import lpips
import torch
from lpips.lpips import ScalingLayer
from torch import Tensor, nn

from lactok import weights
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES, LPIPS_HEADS

Net = Literal["alex", "vgg"]


class LPIPS(nn.Module):
    """LPIPS v0.1 (Zhang et al. 2018), split so that the features of a reference are computed once.

    Images are float32 in [-1, 1].
    """

    def __init__(self, net: Net):
        super().__init__()
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # torchvision's word on lpips's `pretrained` argument
            self.model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
        self.model.scaling_layer = ScalingLayer()
        self.eval()

    def load_tensors(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """Load `N.weight`, `N.bias` of torchvision's `features` and the heads `linK.model.1.weight`, strictly."""
        state = {}
        for name in self.model.state_dict():
            if name.startswith("net."):
                state[name] = backbone[".".join(name.split(".")[-2:])]
            elif name.startswith("lins."):  # lins.K and linK are the same modules
                state[name] = heads[f"lin{name.removeprefix('lins.')}"]
            else:
                state[name] = heads[name] if name.startswith("lin") else self.model.get_buffer(name)
        self.model.load_state_dict(state, assign=True)
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> the unit-normalised feature maps of each layer."""
        return [lpips.normalize_tensor(f) for f in self.model.net(self.model.scaling_layer(images))]

    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Two lists of features -> (B,) distances."""
        layers = [head((a - b) ** 2).mean((1, 2, 3)) for head, a, b in zip(self.model.lins, first, second, strict=True)]
        return torch.stack(layers).sum(0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> (B,) distances."""
        return self.distance(self.features(first), self.features(second))


@lru_cache(maxsize=4)
def load_lpips(net: Net, device: str = "cpu") -> LPIPS:
    """LPIPS with its published weights, frozen, on `device`."""
    with torch.inference_mode(False):  # kept for training too, whoever asks first
        module = LPIPS(net)
        module.load_tensors(weights.load(LPIPS_BACKBONES[net]), weights.load(LPIPS_HEADS[net]))
        return module.to(device)
