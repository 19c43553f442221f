"""Janus-Pro's image tokenizer (Chen et al. 2025): LlamaGen's VQ-16, at 384 px.

The files were not opened here. transformers' `JanusVQVAE` computes the same, except that it compares features with the
codes without normalising either, so that it gives other ids than the authors' code; here they are the authors'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from baselines.llamagen import LlamaGenVQ
from lactok.nn.vqgan import VQConfig
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec

CONFIG = VQConfig(usage_buffer=False)
SIDE = 384
# what stands before the tokenizer's names in the files of the whole model: transformers' and the authors'
PREFIXES = ("model.vqmodel.", "gen_vision_model.")
# names of transformers -> names of the network
RENAMED = (
    (r"^(encoder)\.down\.", r"\1.conv_blocks."),
    (r"^(decoder)\.up\.", r"\1.conv_blocks."),
    (r"(conv_blocks\.\d+)\.block\.", r"\1.res."),
    (r"\.mid\.block_1\.", ".mid.0."),
    (r"\.mid\.attn_1\.", ".mid.1."),
    (r"\.mid\.block_2\.", ".mid.2."),
)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tokenizer's tensors of a file of Janus, transformers' or the authors', or of the tokenizer alone."""
    inside = dict(tensors)
    for prefix in PREFIXES:
        below = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        inside = below or inside
    out = {}
    for name, tensor in inside.items():
        for old, new in RENAMED:
            name = re.sub(old, new, name)
        if not name.endswith("codebook_used"):  # a count of the training
            out[name] = tensor
    return out


@register(
    TokenizerSpec(
        "janus-vq16",
        family="llamagen",
        tokens=(SIDE // CONFIG.downsampling) ** 2,
        codebook_size=CONFIG.codebook_size,
        input_size=SIDE,
        output_size=SIDE,
        license="DeepSeek Model License",
        options={"input": Option(SIDE, "side of the image in pixels, in and out", choices=(256, 384, 512))},
        paper="Chen et al. 2025, arXiv 2501.17811",
        assets=(
            Asset(
                "janus-vq16",
                "DeepSeek Model License",
                (
                    Hub("deepseek-community/Janus-Pro-1B", "model.safetensors"),
                    Hub("deepseek-ai/Janus-Pro-1B", "pytorch_model.bin"),
                ),
                "baselines.janus:convert",
                4_180_000_000,
            ),
        ),
        note="its file, a part of Janus-Pro-1B's, was not opened here",
    ),
    config=CONFIG,
)
class JanusVQ(LlamaGenVQ):
    """Janus' VQ tokenizer; `config` is the shape of its network."""
