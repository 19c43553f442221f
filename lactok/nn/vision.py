"""DINOv2 ViT-L/14 at 224 px and the image half of CLIP ViT-L/14 at 336 px, both by transformers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

from lactok import weights
from lactok.nn.loading import filled
from lactok.nn.vision_checkpoint import CLIP_L_14_336, DINOV2_L, GRID

DINOV2_CONFIG = Dinov2Config(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=14 * GRID,
    patch_size=14,
    use_mask_token=False,
)
CLIP_CONFIG = CLIPVisionConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    projection_dim=768,
    image_size=336,
    patch_size=14,
)


# parts of DINOv2's names in the published file -> what newer versions of transformers call them
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def as_installed(tensors: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Return DINOv2's tensors under the names that the installed version of transformers uses.

    Args:
        tensors: the tensors, under the names of the published file or under newer ones.
        wanted: the names of the installed network.
    """
    out = {}
    for name, tensor in tensors.items():
        found = name
        for old, new in _RENAMED.items():
            for before, after in ((old, new), (new, old)):
                if name not in wanted and name.replace(before, after) in wanted:
                    found = name.replace(before, after)
        out[found] = tensor
    return out


def build_dinov2() -> Dinov2Model:
    """Make DINOv2 ViT-L/14 for images of 224 px, with random weights."""
    return Dinov2Model(DINOV2_CONFIG)


def build_clip() -> CLIPVisionModelWithProjection:
    """Make the image half of CLIP ViT-L/14 for images of 336 px, with random weights."""
    return CLIPVisionModelWithProjection(CLIP_CONFIG)


def dinov2(device: str = "cpu") -> Dinov2Model:
    """Return DINOv2 with its published weights, frozen, on `device`; later calls return the same network."""
    return _dinov2(device, weights.resolve(DINOV2_L).sha256)


def clip_l_14_336(device: str = "cpu") -> CLIPVisionModelWithProjection:
    """Return CLIP's image half with its published weights, frozen, on `device`; later calls return the same network."""
    return _clip(device, weights.resolve(CLIP_L_14_336).sha256)


@lru_cache(maxsize=2)
def _dinov2(device: str, _digest: str) -> Dinov2Model:
    """Load DINOv2; the digest is an argument so that other weights are loaded anew."""
    with torch.inference_mode(False):
        with torch.device("meta"):
            names = build_dinov2().state_dict().keys()
        return filled(build_dinov2, as_installed(weights.load(DINOV2_L), names), "DINOv2").to(device)


@lru_cache(maxsize=2)
def _clip(device: str, _digest: str) -> CLIPVisionModelWithProjection:
    """Load CLIP's image half; the digest is an argument so that other weights are loaded anew."""
    with torch.inference_mode(False):
        return filled(build_clip, weights.load(CLIP_L_14_336), "CLIP").to(device)
