"""Pretrained feature networks: the Inception of FID and the backbones of LPIPS, from checked assets.

The networks are those of torch-fidelity and lpips; only where their weights come from is ours.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import lpips
import torch
from lpips.lpips import ScalingLayer
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from lactok import weights
from lactok.assets import INCEPTION, LPIPS_BACKBONES, LPIPS_HEADS

Net = Literal["alex", "vgg"]

# torch-fidelity's forward pass up to the 2048 pooled features, in order
INCEPTION_BLOCKS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
# of these the maps are of use by themselves; the last is what is pooled
INCEPTION_MAPS = {
    "MaxPool_1": 64, "MaxPool_2": 192, "Mixed_5d": 288, "Mixed_6a": 768, "Mixed_6e": 768, "Mixed_7a": 1280,
    "Mixed_7c": 2048,
}  # fmt: skip


class Inception(FeatureExtractorInceptionV3):
    """FID's InceptionV3 (2015-12-05), the 2048 pooled features; without weights until they are loaded."""

    def __init__(self) -> None:
        empty = io.BytesIO()
        torch.save({}, empty)
        empty.seek(0)
        super().__init__("inception-v3-compat", ["2048"], feature_extractor_weights_path=empty)
        del self.fc

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        if not state_dict:  # the base class loads while it is built; ours come later, from an asset
            return None
        return super().load_state_dict(state_dict, strict, assign)

    def maps(self, x: Tensor) -> list[Tensor]:
        """(B, 3, 299, 299) float32 in [0, 255] -> the feature maps (B, C, h, w) of `INCEPTION_MAPS`."""
        x, found = (x - 128) / 128, []
        for name in INCEPTION_BLOCKS[:-1]:
            x = self.get_submodule(name)(x)
            if name in INCEPTION_MAPS:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 299, 299) float32 in [0, 255] -> (B, 2048) float32."""
        return self.get_submodule(INCEPTION_BLOCKS[-1])(self.maps(x)[-1]).flatten(1)


def tf1_resize(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, 299, 299) float32, TensorFlow 1's bilinear without antialias (torch-fidelity)."""
    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)


def inception_convolutions() -> list[str]:
    """Names of the 94 convolution-and-norm pairs in order of registration."""
    with torch.device("meta"):
        return [name for name, module in Inception().named_modules() if isinstance(module, BasicConv2d)]


@lru_cache(maxsize=2)
def inception(device: str = "cpu") -> Inception:
    """Inception with its weights, frozen, on `device`."""
    with torch.inference_mode(False):  # kept for training too, whoever asks first
        net = Inception()
        net.load_state_dict(weights.load(INCEPTION))
        return net.to(device=device, memory_format=torch.channels_last).eval().requires_grad_(False)


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
