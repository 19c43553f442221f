"""The published files of SEED-2 and of its diffusion decoder under the names that the networks load."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from lactok.nn.seed import SeedConfig, SeedQuantizer


def convert_text(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP text encoder with or without the prefix and the position buffer of older transformers."""
    named = {k.removeprefix("text_model."): v for k, v in tensors.items()}
    return {k: v for k, v in named.items() if not k.endswith("position_ids")}


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def convert_vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """An AutoencoderKL with today's attention names; files before diffusers 0.15 have others."""
    pattern = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.")
    return {pattern.sub(lambda m: f"{m[1]}{_OLD_ATTENTION[m[2]]}.", k): v for k, v in tensors.items()}


def seed_names() -> set[str]:
    """Names of all tensors of SEED-2's quantizer, its ViT included."""
    with torch.device("meta"):
        return set(SeedQuantizer(SeedConfig()).state_dict())


def convert_seed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`seed_quantizer.pt`: what the tokenizer reads of it; BERT's words, text layers and LM head are left out.

    Loading names everything that is missing, so nothing stays at random values unseen.
    """
    names = seed_names()
    return {k: v for k, v in tensors.items() if k in names}


def convert_eva(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`eva_vit_g.pth`: the ViT's first 39 blocks, without the 40th, the final norm and the head."""
    names = seed_names()
    named = {f"visual_encoder.{k.removeprefix('visual_encoder.')}": v for k, v in tensors.items()}
    return {k: v for k, v in named.items() if k in names}
