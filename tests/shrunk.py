"""The official networks at small sizes, with the reference sets' weights where a set has them."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from conftest import shared
from safetensors.torch import load_file

from baselines.flextok import FlexTokTokenizer
from baselines.seed_voken import IBQTokenizer, OpenMagvit2Tokenizer
from baselines.seedtok import SeedTokenizer
from baselines.titok import TiTokTokenizer
from baselines.var import VARTokenizer
from baselines.vqgan import VQGAN, MaskGITTokenizer
from benchmarks.verify import flextok as flextok_set
from benchmarks.verify import multiscale_vq as var_set
from benchmarks.verify import open_magvit2 as open_magvit2_set
from benchmarks.verify import seed as seed_set
from benchmarks.verify import titok as titok_set
from benchmarks.verify import vqgan as vqgan_set
from lactok import registry
from lactok.nn.flextok_checkpoint import convert
from lactok.nn.ibq import from_voken
from lactok.nn.maskgit_vqgan import MaskGITConfig
from lactok.nn.unclip import UnCLIPConfig
from lactok.nn.vqgan import from_taming
from lactok.specs import TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.averages import averaged

TINY_UNCLIP = UnCLIPConfig(
    unet={
        "sample_size": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "block_out_channels": [32, 64],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": [2, 4],
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 96,
    },
    vae={
        "block_out_channels": [32],
        "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"],
    },
    text={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "vocab_size": 100,
        "hidden_act": "gelu",
        "bos_token_id": 98,
        "eos_token_id": 99,
    },
    features=48,
    prompt=(98, 99) + (0,) * 14,
)


def reference(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    folder = shared("golden", name)
    return json.loads((folder / "config.json").read_text()), load_file(folder / "weights.safetensors")


def titok(name: str) -> Tokenizer:
    values, tensors = reference(name)
    config = titok_set.config_of(values)
    spec = replace(
        registry.tokenizer_spec("titok-s128"),
        tokens=config.tokens,
        codebook_size=config.codebook_size,
        input_size=config.image_size,
        output_size=config.image_size,
    )
    tokenizer = TiTokTokenizer(spec, config)
    tokenizer.load_assets({"weights": tensors})
    return tokenizer


def flextok(options: str = "steps=3") -> Tokenizer:
    values, tensors = reference("flextok")
    shape = flextok_set.config_of(values)
    official = registry.tokenizer_spec("flextok-d12-d12")
    lengths = dict(official.options) | {"tokens": replace(official.options["tokens"], default=16, high=16)}
    spec = replace(official, input_size=64, output_size=64, tokens=16, options=lengths).with_options(options)
    tokenizer = FlexTokTokenizer(spec, shape)
    tokenizer.model.load_state_dict(convert(tensors))
    return tokenizer


def seedtok(options: str = "steps=4") -> SeedTokenizer:
    values, tensors = reference("seed2")
    torch.manual_seed(0)
    spec = replace(registry.tokenizer_spec("seedtok-2"), input_size=56, output_size=8, codebook_size=512).with_options(
        options
    )
    tokenizer = SeedTokenizer(spec, seed_set.config_of(values), TINY_UNCLIP)
    tokenizer.model.load_state_dict(tensors)
    return tokenizer


def vqgan() -> Tokenizer:
    values, tensors = reference("vqgan_f16")
    tokenizer = VQGAN(
        replace(registry.tokenizer_spec("vqgan-f16-1024"), codebook_size=512), vqgan_set.config_of(values)
    )
    tokenizer.model.load_state_dict(from_taming(tensors))
    return tokenizer


def maskgit() -> Tokenizer:
    torch.manual_seed(0)
    config = MaskGITConfig(32, (1, 1, 1, 1, 2), 1, 32, 1024)
    tokenizer = MaskGITTokenizer(registry.tokenizer_spec("maskgit-vqgan-f16"), config)
    torch.nn.init.normal_(tokenizer.model.quantize.embedding.weight)
    return tokenizer


def small(name: str, side: int, tokens: int, codes: int) -> TokenizerSpec:
    """The spec of a published tokenizer with other sizes and no options."""
    official = registry.tokenizer_spec(name)
    sizes = {"tokens": tokens, "codebook_size": codes, "input_size": side, "output_size": side}
    return replace(official, **sizes, options={}, values={})


def ibq() -> Tokenizer:
    values, tensors = reference("ibq_ema")
    config = vqgan_set.config_of(values)
    spec = small("ibq-1k", 32, (32 // config.downsampling) ** 2, config.codebook_size)
    tokenizer = IBQTokenizer(spec, config)
    tokenizer.model.load_state_dict(from_voken(tensors))
    return tokenizer


def open_magvit2() -> Tokenizer:
    values, tensors = reference("open_magvit2_ema")
    config = open_magvit2_set.config_of(values)
    spec = small("open-magvit2-262k", 32, (32 // config.downsampling) ** 2, config.codebook_size)
    tokenizer = OpenMagvit2Tokenizer(spec, config)
    tokenizer.model.load_state_dict(averaged(tensors))
    return tokenizer


def var() -> Tokenizer:
    values, tensors = reference("var_vqvae")
    config = var_set.config_of(values, values["shrink"])
    side = config.sides[-1] * config.downsampling
    spec = small("var-vqvae", side, config.tokens, config.codebook_size)
    tokenizer = VARTokenizer(replace(spec, levels=tuple(s * s for s in config.sides), levels_of_input={}), config)
    tokenizer.load_assets({"weights": tensors})
    return tokenizer
