"""Emu3's image tokenizer (Wang et al. 2024), by transformers: a tokenizer of videos that repeats an image four times.

The network is transformers' `Emu3VQVAE`, whose file is the authors' own, under other names. It was not opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lactok.nn.quantize import VectorQuantizer
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer

SIDE, DOWNSAMPLING = 512, 8  # the authors take images of 512x512 pixels or more
# the authors' names -> names of transformers
RENAMED = (
    (r"^encoder\.down\.", "encoder.down_block.down."),
    (r"^decoder\.up\.", "decoder.up_block.up."),
    (r"\.mid\.attn_1\.norm\.", ".middle_block.attn_norm."),
    (r"\.mid\.", ".middle_block."),
    (r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1."),
    (r"\.(attn\.\d+|attn_1)\.([qkv])\.", r".\1.\2_proj."),
    (r"\.(attn\.\d+|attn_1)\.proj_out\.", r".\1.out_proj."),
)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the authors' file as transformers' network has them; its own names stay.

    The 1x1 convolutions of the attention (C, C, 1, 1) become linear layers (C, C).
    """
    out = {}
    for name, tensor in tensors.items():
        for old, new in RENAMED:
            name = re.sub(old, new, name)
        is_linear = name.endswith("_proj.weight")
        out[name] = tensor.flatten(1) if is_linear else tensor
    return out


@register(
    TokenizerSpec(
        "emu3-vq",
        family="emu3",
        tokens=(SIDE // DOWNSAMPLING) ** 2,
        codebook_size=32768,
        input_size=SIDE,
        output_size=SIDE,
        license="Apache-2.0",
        options={"input": Option(SIDE, "side of the image in pixels, in and out", low=64, high=1024, multiple=8)},
        paper="Wang et al. 2024, arXiv 2409.18869",
        assets=(
            Asset(
                "emu3-vq",
                "Apache-2.0",
                (Hub("BAAI/Emu3-VisionTokenizer", "model.safetensors"),),
                "baselines.emu3:convert",
                1_083_000_000,
            ),
        ),
        note="its file was not opened here",
    )
)
class Emu3VQ(Tokenizer):
    """Emu3's VQ tokenizer; `config` are arguments of transformers' `Emu3VQVAEConfig`, by default the published ones."""

    def __init__(self, spec: TokenizerSpec, config: Mapping[str, Any] | None = None):
        from transformers import Emu3VQVAE, Emu3VQVAEConfig

        super().__init__(spec)
        shape = Emu3VQVAEConfig(**(config or {}))
        self.model = Emu3VQVAE(shape)
        # of the same name and arithmetic, but in float32 under autocast too, and near ties are counted
        self.model.quantize = VectorQuantizer(shape.codebook_size, shape.embed_dim, l2_norm=False)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        frames = (2 * images - 1).unsqueeze(1).repeat(1, self.model.config.temporal_downsample_factor, 1, 1, 1)
        features = self.model.encoder(frames).transpose(1, 2)  # (B, C, 1, h, w)
        return self.model.quantize.encode(self.model.quant_conv(features).squeeze(2)).flatten(1)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        side = self.spec.input_size // self.model.spatial_scale_factor
        return (self.model.decode(ids.unflatten(1, (side, side))) + 1) / 2
