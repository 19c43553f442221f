"""Conversion of the published files of SEED-2 and of its diffusion decoder to the names of our networks."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from lactok.nn.seed import SeedConfig, SeedQuantizer


def convert_text(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a CLIP text encoder without the prefix and the buffer of positions of older files."""
    named = {k.removeprefix("text_model."): v for k, v in tensors.items()}
    return {k: v for k, v in named.items() if not k.endswith("position_ids")}


# names of diffusers before version 0.15 -> names of today
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def convert_vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of diffusers' `AutoencoderKL`, where older files name the attention's layers differently."""
    out = {}
    for name, tensor in tensors.items():
        old = re.search(r"\.attentions\.\d+\.(query|key|value|proj_attn)\.", name)
        if old:
            name = f"{name[: old.start(1)]}{_OLD_ATTENTION[old[1]]}{name[old.end(1) :]}"
        out[name] = tensor
    return out


def seed_names() -> set[str]:
    """Return the names of all tensors of SEED-2's quantizer, its ViT included."""
    with torch.device("meta"):
        return set(SeedQuantizer(SeedConfig()).state_dict())


def convert_seed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `seed_quantizer.pt` that the tokenizer uses.

    BERT's word embeddings, text layers and language-model head are left out. Nothing is checked here: loading reports
    every tensor that is missing.
    """
    names = seed_names()
    return {k: v for k, v in tensors.items() if k in names}


def convert_eva(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `eva_vit_g.pth` that the tokenizer uses: not the 40th block, the last norm and the head."""
    names = seed_names()
    named = {f"visual_encoder.{k.removeprefix('visual_encoder.')}": v for k, v in tensors.items()}
    return {k: v for k, v in named.items() if k in names}
