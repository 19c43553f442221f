"""LPIPS v0.1 (Zhang et al. 2018): the network of the lpips package with weights from checked files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, cast

import lpips
import torch
from lpips.lpips import ScalingLayer
from torch import Tensor, nn

from lactok import weights
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES, LPIPS_HEADS

Net = Literal["alex", "vgg"]


class LPIPS(nn.Module):
    """LPIPS in two steps, `features` and `distance`, so that the features of a reference are computed only once.

    It has no weights until `load_tensors` is called.

    Args:
        net: the backbone, "alex" for AlexNet or "vgg" for VGG16.
    """

    def __init__(self, net: Net):
        super().__init__()
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # torchvision warns of its old argument `pretrained`, which lpips uses
            self.model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
        self.model.scaling_layer = ScalingLayer()
        self.eval()

    def load_tensors(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """Load the weights and freeze them.

        Args:
            backbone: `N.weight` and `N.bias` of the convolutions of torchvision's `features`.
            heads: `linK.model.1.weight`, the weights of the channels of layer K.

        Raises:
            KeyError: a tensor is missing.
            UserError: a tensor has another shape, or values that are not finite.
        """
        state = {}
        for name in self.model.state_dict():
            if name.startswith("net."):
                state[name] = backbone[".".join(name.split(".")[-2:])]
            elif name.startswith("lins."):  # the module lins.K is linK under a second name
                state[name] = heads[f"lin{name.removeprefix('lins.')}"]
            elif name.startswith("lin"):
                state[name] = heads[name]
            else:
                state[name] = self.model.get_buffer(name)
        weights.load_strict(self.model, state, "LPIPS")
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [-1, 1] -> a feature map (B, C, h, w) for each layer, of length 1 at each position."""
        return [lpips.normalize_tensor(f) for f in self.model.net(self.model.scaling_layer(images))]

    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Features of two batches, as `features` returns them -> the distances of their pairs (B,)."""
        layers = []
        for head, a, b in zip(self.model.lins, first, second, strict=True):
            layers.append(head((a - b) ** 2).mean((1, 2, 3)))
        return torch.stack(layers).sum(0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two batches of images (B, 3, H, W) in [-1, 1] -> the distances of their pairs (B,)."""
        return self.distance(self.features(first), self.features(second))


def load_lpips(net: str, device: str = "cpu") -> LPIPS:
    """Return LPIPS with its published weights, frozen, on `device`; later calls return the same network."""
    files = (weights.resolve(LPIPS_BACKBONES[net]), weights.resolve(LPIPS_HEADS[net]))
    return _loaded(net, device, tuple(file.sha256 for file in files))


@lru_cache(maxsize=4)
def _loaded(net: str, device: str, _digests: tuple[str, ...]) -> LPIPS:
    """Load LPIPS; the digests are an argument so that other weights are loaded anew."""
    # training may use the network that an evaluation loaded in inference mode, so its tensors must be ordinary ones
    with torch.inference_mode(False):
        module = LPIPS(cast(Net, net))
        module.load_tensors(weights.load(LPIPS_BACKBONES[net]), weights.load(LPIPS_HEADS[net]))
        return module.to(device)
