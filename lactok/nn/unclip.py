"""Stable unCLIP: a latent diffusion model that paints the picture of a CLIP image embedding.

Source: AILab-CVC/SEED `models/pipeline_stable_unclip_img2img.py` (after diffusers'), whose networks and schedulers are
used here as they are. SEED always decodes with the empty prompt, so no text tokenizer is needed. A small one may have
a linear predictor besides, whose error the diffusion paints (predict and refine, Whang et al. 2022, arXiv 2112.02475).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.errors import UserError
from lactok.randomness import noise

if TYPE_CHECKING:
    from diffusers import PNDMScheduler

# stabilityai/stable-diffusion-2-1-unclip
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
    """Arguments of the parts, by diffusers' and transformers' own names; the defaults are SD 2.1 unCLIP (ViT-H).

    Attributes:
        features: width of the CLIP image embedding.
        prompt: ids of the empty prompt: begin, end, and zeros up to the text encoder's length.
        one_start: begin every picture with the same noise, as SEED's pipeline does, which draws it when it is built.
            False, as for seedtok-2 here: each image's own seed draws it, as all noise of this project.
        predictor: side of the grid of latents that a linear map of the embedding predicts, the diffusion the rest; 0:
            none, as in every published unCLIP.
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
    """A small unCLIP in a recipe.

    Attributes:
        channels: of the UNet, from the finest level to the coarsest, each of half the side. The embedding reaches it
            through the modulation alone, the same everywhere in a map; the start's noise and padding tell places apart.
        attention: levels that attend to the prompt, as 0 or 1.
        text: width of the text encoder.
        predictor: as in `UnCLIPConfig`.
    """

    channels: tuple[int, ...]
    attention: tuple[int, ...]
    layers: int = 1
    groups: int = 8
    heads: int = 4
    text: int = 16
    predictor: int = 0

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.channels):
            raise UserError("[unclip] attention needs a 0 or 1 for each of channels")
        if any(c % self.groups or c % self.heads for c in self.channels):
            raise UserError(f"[unclip] channels must be multiples of groups = {self.groups} and heads = {self.heads}")

    def config(self, features: int, vae: Mapping[str, Any], size: int) -> UnCLIPConfig:
        """Of the whole decoder, for embeddings of width `features` and pictures of side `size`.

        Args:
            vae: arguments of diffusers' `AutoencoderKL`.
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
        scheduler = {**SCHEDULER, "timestep_spacing": "trailing"}  # few steps start at pure noise
        return UnCLIPConfig(
            unet, vae, text, scheduler, features, prompt=(0, 1), one_start=True, predictor=self.predictor
        )


class Normalizer(nn.Module):
    """Mean and deviation of CLIP image embeddings, (1, features)."""

    def __init__(self, features: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, features))
        self.std = nn.Parameter(torch.ones(1, features))


class UnCLIP(nn.Module):
    """CLIP image embeddings (B, features) to images."""

    def __init__(self, config: UnCLIPConfig):
        # here, because they take seconds and not every command builds a network
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        self.config = config
        self.unet = UNet2DConditionModel(**config.unet)
        self.vae = AutoencoderKL(**config.vae)
        text = CLIPTextModel(CLIPTextConfig(**config.text))
        self.text_encoder = getattr(text, "text_model", text)  # transformers 5 has no layer in between
        self.image_normalizer = Normalizer(config.features)
        self.predictor = None
        if config.predictor:
            self.predictor = nn.Linear(config.features, self.latent_shape[0] * config.predictor**2)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size, channels = self.unet.config.sample_size, self.unet.config.in_channels
        return (channels, size, size)

    def start(self, seeds: Tensor) -> Tensor:
        """Noise to begin with for seeds (B,), (B, *latent_shape)."""
        return noise(torch.zeros_like(seeds) if self.config.one_start else seeds, self.latent_shape, "start")

    def restore_positions(self) -> None:
        """Fill the text encoder's position buffer, which no file stores, after the network was made without memory."""
        positions = torch.arange(len(self.config.prompt), device="cpu")[None]
        self.text_encoder.embeddings.position_ids = positions

    def prompt_embeds(self) -> Tensor:
        """States of the empty prompt (1, length, cross_attention_dim); unguided passes use the same."""
        ids = torch.tensor([self.config.prompt], device=self.image_normalizer.mean.device)
        return self.text_encoder(input_ids=ids).last_hidden_state

    def class_labels(self, image_embeds: Tensor, draw: Tensor) -> Tensor:
        """Embeddings (B, features) at noise level 0 as the UNet takes them, (B, 2 * features).

        Quirk: level 0 still adds a little noise, `draw` (B, features), to the normalised embedding.
        """
        from diffusers import DDPMScheduler
        from diffusers.models.embeddings import get_timestep_embedding

        mean, std = self.image_normalizer.mean, self.image_normalizer.std
        level = torch.zeros(len(image_embeds), dtype=torch.int64, device=image_embeds.device)
        noising = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
        noised = noising.add_noise((image_embeds - mean) / std, draw, level) * std + mean
        embedded = get_timestep_embedding(level, self.config.features, flip_sin_to_cos=True, downscale_freq_shift=0)
        return torch.cat([noised, embedded], 1)

    def timesteps(self, steps: int) -> tuple[PNDMScheduler, list[int]]:
        """A scheduler at its start and its times; one comes twice, so there is one more than `steps`."""
        from diffusers import PNDMScheduler

        scheduler = PNDMScheduler(**self.config.scheduler)
        scheduler.set_timesteps(steps)
        return scheduler, scheduler.timesteps.tolist()

    def grid(self, values: Tensor) -> Tensor:
        """The predictor's output (B, C * side * side) -> latents (B, *latent_shape), bilinear in between."""
        channels, *size = self.latent_shape
        side = self.config.predictor
        return F.interpolate(values.float().view(-1, channels, side, side), size, mode="bilinear")

    def predicted(self, image_embeds: Tensor) -> Tensor:
        """Latents as the predictor alone says, (B, *latent_shape); zeros without one."""
        if self.predictor is None:
            return torch.zeros(len(image_embeds), *self.latent_shape, device=image_embeds.device)
        return self.grid(self.predictor(image_embeds))

    def sample(
        self,
        image_embeds: Tensor,
        start: Tensor,
        draw: Tensor,
        steps: int = 20,
        guidance: float = 10.0,
        negative: Tensor | None = None,
    ) -> Tensor:
        """Latents of the pictures.

        Args:
            image_embeds: (B, features).
            start: noise to begin with (B, *latent_shape).
            draw: noise of the embeddings (B, features).
            steps: of the PNDM scheduler; one more network evaluation than that.
            guidance: 1 or less means a single unguided pass a step.
            negative: embeddings to be guided away from (B, features); else zeros stand for their whole label.

        Returns:
            (B, *latent_shape), scaled as the VAE's decoder expects after division by its scaling factor.
        """
        labels = self.class_labels(image_embeds, draw)
        if guided := guidance > 1:
            away = torch.zeros_like(labels) if negative is None else self.class_labels(negative, draw)
            labels = torch.cat([away, labels])
        prompt = self.prompt_embeds().expand(len(labels), -1, -1)
        scheduler, times = self.timesteps(steps)
        x = start
        for t in times:
            at = torch.cat([x, x]) if guided else x
            out = self.unet(at, t, encoder_hidden_states=prompt, class_labels=labels, return_dict=False)[0].float()
            if guided:
                without, out = out.chunk(2)
                out = without + guidance * (out - without)
            x = scheduler.step(out, t, x, return_dict=False)[0]
        return x if self.predictor is None else x + self.predicted(image_embeds)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """(B, *latent_shape) -> (B, 3, S, S) about [0, 1], unclamped."""
        return self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0] / 2 + 0.5
