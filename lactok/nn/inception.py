"""FID's Inception: the network of torch-fidelity with weights from a file whose digest is checked."""

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

# the modules of torch-fidelity's forward pass before the average pooling, in order
INCEPTION_BLOCKS = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "MaxPool_1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "MaxPool_2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
)
# the modules whose feature maps `Inception.maps` returns, with their numbers of channels; the last one is pooled
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
    """FID's InceptionV3 of 2015-12-05 without its classifier: images become 2048 pooled features.

    Its weights are random until they are loaded.
    """

    def __init__(self) -> None:
        no_weights = io.BytesIO()  # the base class loads a file while it is built
        torch.save({}, no_weights)
        no_weights.seek(0)
        super().__init__("inception-v3-compat", ["2048"], feature_extractor_weights_path=no_weights)
        del self.fc

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as `nn.Module` does, but ignore the empty file that the base class loads."""
        if not state_dict:
            return None
        return super().load_state_dict(state_dict, strict, assign)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, 299, 299) float32 in [0, 255] -> the feature maps (B, C, h, w) of `INCEPTION_MAPS`."""
        x = (x - 128) / 128
        found = []
        for name in INCEPTION_BLOCKS:
            x = self.get_submodule(name)(x)
            if name in INCEPTION_MAPS:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, 299, 299) float32 in [0, 255] -> pooled features (B, 2048) float32."""
        return self.AvgPool(self.maps(x)[-1]).flatten(1)


def tf1_resize(images: Tensor) -> Tensor:
    """Resize images as TensorFlow 1 and torch-fidelity do: bilinear without antialiasing.

    (B, 3, H, W) uint8, or float32 in [0, 255] -> (B, 3, 299, 299) float32.
    """
    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)


def inception_convolutions() -> list[str]:
    """Return the names of the 94 pairs of a convolution and its norm, in the order in which they are registered."""
    with torch.device("meta"):
        return [name for name, module in Inception().named_modules() if isinstance(module, BasicConv2d)]


def inception(device: str = "cpu") -> Inception:
    """Return Inception with its weights, frozen, on `device`; later calls return the same network."""
    return _loaded(device, weights.resolve(INCEPTION).sha256)


@lru_cache(maxsize=2)
def _loaded(device: str, _digest: str) -> Inception:
    """Load Inception; the digest is an argument so that other weights are loaded anew."""
    # training may use the network that an evaluation loaded in inference mode, so its tensors must be ordinary ones
    with torch.inference_mode(False):
        net = Inception()
        weights.load_strict(net, weights.load(INCEPTION), "FID's Inception")
        return net.to(device=device, memory_format=torch.channels_last).eval().requires_grad_(False)
