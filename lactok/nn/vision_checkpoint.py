"""Where the weights of DINOv2 ViT-L/14 and CLIP ViT-L/14@336 are, and their conversion for `lactok.nn.vision`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.specs import Asset, Hub

if TYPE_CHECKING:
    from torch import Tensor

DINOV2_L = Asset(
    "dinov2-vit-l-14",
    license="Apache-2.0 (Meta DINOv2)",
    sources=tuple(Hub("facebook/dinov2-large", file) for file in ("model.safetensors", "pytorch_model.bin")),
    convert="lactok.nn.vision_checkpoint:convert_dinov2",
    size=1_220_000_000,
)
CLIP_L_14_336 = Asset(
    "clip-vit-l-14-336",
    license="MIT (OpenAI CLIP)",
    sources=tuple(
        Hub("openai/clip-vit-large-patch14-336", file) for file in ("model.safetensors", "pytorch_model.bin")
    ),
    convert="lactok.nn.vision_checkpoint:convert_clip_vision",
    size=1_710_000_000,
)

GRID = 16  # patches of 14 px on a side of an image of 224 px
OFFSET = 0.1  # that DINOv2's own code adds to a side's number of patches when it resizes positional embeddings


def convert_dinov2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return DINOv2's tensors with positional embeddings for images of 224 px.

    The file has those of 518 px, 37 x 37 patches. They are resized as DINOv2's own code does, whose scale differs
    slightly from the ratio of the sides; transformers takes that ratio.

    Raises:
        UserError: the file has no positional embeddings of a square.
    """
    import torch
    import torch.nn.functional as F

    name = "embeddings.position_embeddings"
    if name not in tensors:
        raise UserError(f"the file has no {name}; it is not transformers' file of DINOv2")
    out = {k: v for k, v in tensors.items() if k != "embeddings.mask_token"}  # which hides patches in training alone
    positions = tensors[name].float()
    side = round((positions.shape[1] - 1) ** 0.5)
    if side * side + 1 != positions.shape[1]:
        raise UserError(f"{name} {tuple(positions.shape)} is of no square image")
    if side != GRID:
        grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = (GRID + OFFSET) / side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", recompute_scale_factor=False)
        out[name] = torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    return out


def convert_clip_vision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the image half of a CLIP checkpoint, as `CLIPVisionModelWithProjection` names them."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(("vision_model.", "visual_projection.")) and not name.endswith("position_ids")
    }
