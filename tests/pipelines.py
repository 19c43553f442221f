"""Tiny diffusion pipelines with seeded random weights, in diffusers' layout: what `baselines.diffusion` loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """A token a letter."""
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *SPECIAL]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def t5_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -2.0) for letter in f"▁{LETTERS}")]
    return T5TokenizerFast(
        tokenizer_object=Tokenizer(Unigram(vocabulary, unk_id=2)),
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_ids=0,
        model_max_length=16,
    )


def clip_config(**more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        vocab_size=54,
        projection_dim=32,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
        **more,
    )


def t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)).eval()


def vae(channels: int = 4) -> AutoencoderKL:
    """Halves the side twice, so that a picture of 64 pixels has latents of 16."""
    return AutoencoderKL(
        block_out_channels=[16, 16, 16],
        norm_num_groups=8,
        latent_channels=channels,
        sample_size=64,
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        scaling_factor=0.5,
        shift_factor=0.1,
    )


def unet(**more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        use_linear_projection=True,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    )


def stable_diffusion(folder: Path) -> DiffusionPipeline:
    return StableDiffusionPipeline(
        vae(),
        CLIPTextModel(clip_config()).eval(),
        clip_tokenizer(folder),
        unet(cross_attention_dim=32),
        PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        None,
        None,
        requires_safety_checker=False,
    )


def sdxl(folder: Path) -> DiffusionPipeline:
    tokenizer = clip_tokenizer(folder)
    network = unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        transformer_layers_per_block=(1, 2),
    )
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    encoders = CLIPTextModel(clip_config()).eval(), CLIPTextModelWithProjection(clip_config()).eval()
    return StableDiffusionXLPipeline(vae(), *encoders, tokenizer, tokenizer, network, scheduler, add_watermarker=False)


def sd3(folder: Path) -> DiffusionPipeline:
    tokenizer = clip_tokenizer(folder)
    network = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
    )
    encoders = [CLIPTextModelWithProjection(clip_config()).eval() for _ in range(2)]
    return StableDiffusion3Pipeline(
        network,
        FlowMatchEulerDiscreteScheduler(),
        vae(),
        encoders[0],
        tokenizer,
        encoders[1],
        tokenizer,
        t5(),
        t5_tokenizer(),
    )


def flux(folder: Path) -> DiffusionPipeline:
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    text = CLIPTextModel(clip_config()).eval()
    return FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), vae(), text, clip_tokenizer(folder), t5(), t5_tokenizer(), network
    )


TINY = {"sd1.5": stable_diffusion, "sdxl": sdxl, "sd3": sd3, "flux.1-dev": flux}


def save(name: str, folder: Path) -> Path:
    """A tiny pipeline of a generator's kind, saved as `folder/NAME`."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    TINY[name](folder).save_pretrained(folder / name)
    return folder / name
