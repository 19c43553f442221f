"""FID's Inception: torch-fidelity's own network, from a checked file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from lactok import weights
from lactok.nn.inception_checkpoint import INCEPTION

# torch-fidelity's forward pass up to the 2048 pooled features, in order
INCEPTION_BLOCKS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
# of these the maps are of use by themselves; the last is what is pooled
INCEPTION_MAPS = {
    "MaxPool_1": 64,
    "MaxPool_2": 192,
    "Mixed_5d": 288,
    "Mixed_6a": 768,
    "Mixed_6e": 768,
    "Mixed_7a": 1280,
    "Mixed_7c": 2048,
}


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
