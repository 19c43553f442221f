"""FID's Inception for scoring: its batch norms are folded into the convolutions, images and weights lie channels last.

Its features are those of `lactok.nn.inception.Inception` but for their last bits.
"""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

from lactok.nn.inception import INCEPTION_BLOCKS, Inception, inception

SIDE = 299  # pixels of the images that Inception takes


class ScoringInception:
    """Inception with folded batch norms.

    Args:
        network: Inception with its weights; it is copied.
        dtype: the dtype of the convolutions, float32 or bfloat16; the last maps are averaged in float32.
    """

    def __init__(self, network: Inception, dtype: torch.dtype = torch.float32):
        self.dtype = dtype
        net = copy.deepcopy(network).eval()
        for module in list(net.modules()):
            if isinstance(module, BasicConv2d):
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
        net = net.to(dtype).to(memory_format=torch.channels_last).requires_grad_(False)
        self.blocks = [net.get_submodule(name) for name in INCEPTION_BLOCKS]

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, 299, 299) float32 in [0, 255], channels last -> pooled features (B, 2048) float32."""
        x = ((images - 128) / 128).to(self.dtype)
        for block in self.blocks:
            x = block(x)
        return x.float().mean((2, 3))


def tf1_resize_uint8(images: Tensor) -> Tensor:
    """Resize images (B, 3, H, W) uint8 to (B, 3, 299, 299) float32 in [0, 255] as TensorFlow 1 does.

    The values are exactly those of `lactok.nn.inception.tf1_resize`; only the pixels that are looked at become floats.
    """
    top, bottom, down = _neighbours(images.shape[2], images.device)
    left, right, across = _neighbours(images.shape[3], images.device)
    rows = [images.index_select(2, index) for index in (top, bottom)]
    lines = []
    for row in rows:
        first, second = (row.index_select(3, index).float() for index in (left, right))
        lines.append(first + (second - first) * across)
    return lines[0] + (lines[1] - lines[0]) * down[:, None]


def _neighbours(side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each of 299 pixels the two that lie around it on a side of so many, and how far it is from the first.

    Returns:
        Two indices (299,) int64 and the distances (299,) float32.
    """
    at = torch.arange(SIDE, dtype=torch.float32, device=device) * torch.tensor(side / SIDE, dtype=torch.float32)
    low = at.long()
    return low, (low + 1).clamp_max(side - 1), at - low.float()


def load_scoring_inception(device: str = "cpu", fast: bool = False) -> ScoringInception:
    """Return Inception with its weights for scoring; later calls return the same network.

    Args:
        device: where it computes.
        fast: whether its convolutions compute in bfloat16.
    """
    return _loaded(inception(device), fast)


@lru_cache(maxsize=4)
def _loaded(network: Inception, fast: bool) -> ScoringInception:
    with torch.inference_mode(False):
        return ScoringInception(network, torch.bfloat16 if fast else torch.float32)
