"""Stable unCLIP: a latent diffusion model that generates an image from a CLIP image embedding.

Source: AILab-CVC/SEED `models/pipeline_stable_unclip_img2img.py`, after the pipeline of diffusers; its networks and
schedulers are diffusers'. SEED always decodes with the empty prompt, so that no text tokenizer is needed. A small model
may have a linear predictor of the latents too; the diffusion then generates what the predictor misses (predict and
refine, Whang et al. 2022, arXiv 2112.02475).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts, Whole
from lactok.errors import UserError
from lactok.randomness import noise

if TYPE_CHECKING:
    from diffusers import PNDMScheduler

# arguments of the parts of stabilityai/stable-diffusion-2-1-unclip
UNET = {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 2048,
    "upcast_attention": True,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "sample_size": 768,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "hidden_act": "gelu",
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "prediction_type": "v_prediction",
    "steps_offset": 1,
}


@dataclass(frozen=True)
class UnCLIPConfig:
    """Shape of an `UnCLIP`; the defaults are those of Stable Diffusion 2.1 unCLIP for embeddings of CLIP ViT-H.

    Attributes:
        unet, vae, scheduler: arguments of diffusers' `UNet2DConditionModel`, `AutoencoderKL` and `PNDMScheduler`.
        text: arguments of transformers' `CLIPTextConfig`.
        features: width of the CLIP image embedding.
        prompt: ids of the empty prompt: beginning, end, and zeros up to the text encoder's length.
        one_start: whether all images start from the same noise, as in SEED's pipeline. Otherwise the noise depends on
            each image's seed, as all other noise in this project; seedtok-2 does so too.
        predictor: side of the low-resolution latents that the linear predictor makes of an embedding; 0 for no
            predictor, as in every published unCLIP.
    """

    unet: Mapping[str, Any] = field(default_factory=lambda: UNET)
    vae: Mapping[str, Any] = field(default_factory=lambda: VAE)
    text: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    scheduler: Mapping[str, Any] = field(default_factory=lambda: SCHEDULER)
    features: int = 1024
    prompt: tuple[int, ...] = (49406, 49407) + (0,) * 75
    one_start: bool = False
    predictor: int = 0


@dataclass(frozen=True)
class UnCLIPShape(Config):
    """Shape of a small unCLIP, as recipes and weight files state it.

    Attributes:
        channels: widths of the UNet from the finest level to the coarsest; each level has half the side of the one
            before. The embedding only scales and shifts feature maps, equally at all positions, so that the UNet tells
            positions apart by the noise it starts from and by the padding of its convolutions.
        attention: for each level 1 if it attends to the prompt, else 0.
        layers: residual blocks of a level.
        groups: groups of the group norms.
        heads: attention heads.
        text: width of the text encoder.
        predictor: as in `UnCLIPConfig`.

    Raises:
        UserError: numbers that do not fit together.
    """

    channels: Counts
    attention: tuple[Whole, ...]
    layers: Count = 1
    groups: Count = 8
    heads: Count = 4
    text: Count = 16
    predictor: Whole = 0

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.channels):
            raise UserError("[unclip] attention needs a 0 or 1 for each of channels")
        if any(c % self.groups or c % self.heads for c in self.channels):
            raise UserError(f"[unclip] channels must be multiples of groups = {self.groups} and heads = {self.heads}")

    def config(self, features: int, vae: Mapping[str, Any], size: int) -> UnCLIPConfig:
        """Return the shape of the whole decoder.

        Args:
            features: width of the CLIP image embedding.
            vae: arguments of diffusers' `AutoencoderKL`.
            size: side of the images in pixels.
        """
        unet = {
            "sample_size": size // 2 ** (len(vae["block_out_channels"]) - 1),
            "in_channels": vae["latent_channels"],
            "out_channels": vae["latent_channels"],
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "norm_num_groups": self.groups,
            "attention_head_dim": self.heads,
            "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in self.attention],
            "up_block_types": ["UpBlock2D"] * len(self.channels),
            "mid_block_type": None,
            "cross_attention_dim": self.text,
            "use_linear_projection": True,
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": 2 * features,
            "resnet_time_scale_shift": "scale_shift",
        }
        text = {
            "hidden_size": self.text,
            "intermediate_size": 2 * self.text,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 2,
            "vocab_size": 2,
            "hidden_act": "gelu",
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        scheduler = {**SCHEDULER, "timestep_spacing": "trailing"}  # so that few steps start at pure noise too
        return UnCLIPConfig(
            unet, vae, text, scheduler, features, prompt=(0, 1), one_start=True, predictor=self.predictor
        )


class Normalizer(nn.Module):
    """Holds the mean and the std of CLIP image embeddings, (1, features) each."""

    def __init__(self, features: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, features))
        self.std = nn.Parameter(torch.ones(1, features))


class UnCLIP(nn.Module):
    """Generates images from CLIP image embeddings: noise augmentation, a UNet, a VAE, and perhaps a predictor."""

    def __init__(self, config: UnCLIPConfig):
        # imported here, because it takes seconds and not every command makes a network
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        self.config = config
        self.unet = UNet2DConditionModel(**config.unet)
        self.vae = AutoencoderKL(**config.vae)
        text = CLIPTextModel(CLIPTextConfig(**config.text))
        # in transformers 4 the text encoder is a part of the model, in transformers 5 the model itself
        self.text_encoder = getattr(text, "text_model", text)
        self.image_normalizer = Normalizer(config.features)
        self.predictor = None
        if config.predictor:
            self.predictor = nn.Linear(config.features, self.latent_shape[0] * config.predictor**2)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latents of an image."""
        size, channels = self.unet.config.sample_size, self.unet.config.in_channels
        return (channels, size, size)

    def start(self, seeds: Tensor) -> Tensor:
        """Seeds (B,) int64 -> the noise that sampling starts from, (B, *latent_shape)."""
        if self.config.one_start:
            seeds = torch.zeros_like(seeds)
        return noise(seeds, self.latent_shape, "start")

    def restore_positions(self) -> None:
        """Fill the text encoder's buffer of positions, which no file stores; a network made on `meta` lacks it."""
        positions = torch.arange(len(self.config.prompt), device="cpu")[None]
        self.text_encoder.embeddings.position_ids = positions

    def prompt_embeds(self) -> Tensor:
        """Return the text states of the empty prompt (1, length, cross_attention_dim).

        The conditional and the unconditional passes of classifier-free guidance both use them.
        """
        ids = torch.tensor([self.config.prompt], device=self.image_normalizer.mean.device)
        return self.text_encoder(input_ids=ids).last_hidden_state

    def class_labels(self, image_embeds: Tensor, embedding_noise: Tensor) -> Tensor:
        """Return the embeddings in the form that the UNet takes as its class labels.

        unCLIP adds noise to an embedding and tells the UNet its level. Quirk: level 0 still adds a little noise.

        Args:
            image_embeds: CLIP image embeddings (B, features).
            embedding_noise: standard normal noise (B, features).

        Returns:
            (B, 2 * features): the noised embedding, and an embedding of the noise level 0.
        """
        from diffusers import DDPMScheduler
        from diffusers.models.embeddings import get_timestep_embedding

        mean, std = self.image_normalizer.mean, self.image_normalizer.std
        level = torch.zeros(len(image_embeds), dtype=torch.int64, device=image_embeds.device)
        noising = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
        noised = noising.add_noise((image_embeds - mean) / std, embedding_noise, level) * std + mean
        embedded = get_timestep_embedding(level, self.config.features, flip_sin_to_cos=True, downscale_freq_shift=0)
        return torch.cat([noised, embedded], 1)

    def timesteps(self, steps: int) -> tuple[PNDMScheduler, list[int]]:
        """Return a new scheduler and its descending timesteps; one of them comes twice, so they are `steps` + 1."""
        from diffusers import PNDMScheduler

        scheduler = PNDMScheduler(**self.config.scheduler)
        scheduler.set_timesteps(steps)
        return scheduler, scheduler.timesteps.tolist()

    def grid(self, values: Tensor) -> Tensor:
        """The predictor's output (B, C * side * side) -> latents (B, *latent_shape), enlarged bilinearly."""
        channels, *size = self.latent_shape
        side = self.config.predictor
        return F.interpolate(values.float().view(-1, channels, side, side), size, mode="bilinear")

    def predicted(self, image_embeds: Tensor) -> Tensor:
        """CLIP image embeddings (B, features) -> the predictor's latents (B, *latent_shape), zeros without one."""
        if self.predictor is None:
            return torch.zeros(len(image_embeds), *self.latent_shape, device=image_embeds.device)
        return self.grid(self.predictor(image_embeds))

    def sample(
        self,
        image_embeds: Tensor,
        start: Tensor,
        embedding_noise: Tensor,
        steps: int = 20,
        guidance: float = 10.0,
        negative: Tensor | None = None,
    ) -> Tensor:
        """Generate latents by diffusion.

        Args:
            image_embeds: CLIP image embeddings (B, features).
            start: standard normal noise (B, *latent_shape) that sampling starts from.
            embedding_noise: standard normal noise (B, features), see `class_labels`.
            steps: number of steps of the PNDM scheduler, which evaluates the UNet once more than that.
            guidance: scale of classifier-free guidance; at 1 or less the UNet is evaluated without it.
            negative: embeddings (B, features) of the unconditional pass; by default its class labels are all zero.

        Returns:
            Scaled latents (B, *latent_shape).
        """
        labels = self.class_labels(image_embeds, embedding_noise)
        guided = guidance > 1
        if guided and negative is not None:
            labels = torch.cat([self.class_labels(negative, embedding_noise), labels])
        elif guided:
            labels = torch.cat([torch.zeros_like(labels), labels])
        prompt = self.prompt_embeds().expand(len(labels), -1, -1)
        scheduler, times = self.timesteps(steps)
        x = start
        for t in times:
            inputs = torch.cat([x, x]) if guided else x
            out = self.unet(inputs, t, encoder_hidden_states=prompt, class_labels=labels, return_dict=False)[0].float()
            if guided:
                unconditional, conditional = out.chunk(2)
                out = unconditional + guidance * (conditional - unconditional)
            x = scheduler.step(out, t, x, return_dict=False)[0]
        return x if self.predictor is None else x + self.predicted(image_embeds)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, *latent_shape) -> images (B, 3, S, S), about [0, 1], unclamped."""
        return self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0] / 2 + 0.5
