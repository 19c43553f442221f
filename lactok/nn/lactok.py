"""LaCTok: LlamaGen's encoder and codebook, the code map, the latent diffusion decoder and SDXL's VAE.

Source: arXiv 2503.08377 and Alpha-X-95/LaCToK `tokenizer.py`, `model.py`. A picture becomes 14x14, 16x16 or 18x18 ids;
their codes, enlarged to the latents' grid, steer a few-step diffusion of the latents, which the VAE decodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.errors import UserError
from lactok.nn import samplers
from lactok.nn.latent_decoder import DecoderConfig, LatentDecoder, fold_upsampling
from lactok.nn.quantize import VectorQuantizer
from lactok.nn.vqgan import Encoder, VQConfig
from lactok.randomness import noise
from lactok.weights.metadata import BUNDLED, bundled_shape, notes

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

# stabilityai/stable-diffusion-xl-base-1.0
SDXL_VAE: Mapping[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}


@dataclass(frozen=True)
class VAEShape(Config):
    """SDXL's kind of VAE in a recipe: widths from the finest level to the coarsest, each of half the side.

    `sample_size` is the side of a tile in pixels where pictures are decoded in tiles.
    """

    channels: tuple[int, ...]
    layers: int = 1
    latent_channels: int = 4
    groups: int = 8
    sample_size: int = 256

    def __post_init__(self) -> None:
        if not self.channels or any(c % self.groups for c in self.channels):
            raise UserError(f"[model] channels must be multiples of groups = {self.groups}, not {list(self.channels)}")

    def arguments(self) -> dict[str, object]:
        """Of diffusers' `AutoencoderKL`."""
        n = len(self.channels)
        return {
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "latent_channels": self.latent_channels,
            "sample_size": self.sample_size,
            "norm_num_groups": self.groups,
            "down_block_types": ["DownEncoderBlock2D"] * n,
            "up_block_types": ["UpDecoderBlock2D"] * n,
        }


# the same network as a recipe would state it
SDXL_VAE_SHAPE = VAEShape(channels=(128, 256, 512, 512), layers=2, groups=32, sample_size=1024)


def bundled_vae(name: str, beside: str) -> dict[str, object]:
    """Arguments of diffusers' `AutoencoderKL` for a VAE that the package ships.

    Args:
        name: of the VAE's weights, which say its shape.
        beside: the weights of the network that works in its latents, which say the scaling that it was trained with.
    """
    scaling = notes(BUNDLED / f"{beside}.safetensors")["scaling"]
    return dict(bundled_shape(name, "model", VAEShape).arguments()) | {"scaling_factor": scaling}


@dataclass(frozen=True)
class LaCTokConfig:
    """Shape of a `LaCTok`; the defaults are the published model.

    Attributes:
        encoder: LlamaGen's VQ-16; only its encoder and codebook are used.
        vae: arguments of diffusers' `AutoencoderKL`.
    """

    encoder: VQConfig = field(default_factory=VQConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vae: Mapping[str, Any] = field(default_factory=lambda: SDXL_VAE)

    @property
    def latent_down(self) -> int:
        """Picture pixels to a latent, along a side."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)


def resize(images: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size) as in training: bilinear, without antialias."""
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def moments(vae: Any, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1] -> mean and deviation of their latents, unscaled, (B, 2 C, h, w)."""
    posterior = vae.encode(images).latent_dist
    return torch.cat([posterior.mean, posterior.std], 1)


def drawn_latents(vae: Any, moments: Tensor, draw: Tensor) -> Tensor:
    """Mean plus deviation times `draw` (B, C, h, w), scaled, float32."""
    mean, deviation = moments.float().chunk(2, 1)
    return (mean + deviation * draw) * vae.config.scaling_factor


def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Scaled latents (B, C, h, w) -> images about [-1, 1], unclamped; never in float16, where SDXL's VAE overflows."""
    kind = latents.device.type
    overflows = (
        not latents.is_meta and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    )
    with torch.autocast(kind, enabled=False) if overflows else nullcontext():
        return vae.decode(latents.float() / vae.config.scaling_factor, return_dict=False)[0]


class LaCTok(nn.Module):
    """Images are [-1, 1]."""

    def __init__(self, config: LaCTokConfig):
        from diffusers import AutoencoderKL

        super().__init__()
        self.config = config
        codes = config.encoder
        self.encoder = Encoder(codes)
        self.quant_conv = nn.Conv2d(codes.z_channels, codes.codebook_dim, 1)
        self.quantize = VectorQuantizer(codes.codebook_size, codes.codebook_dim, codes.l2_norm)
        self.decoder = LatentDecoder(config.decoder)
        self.vae: AutoencoderKL = AutoencoderKL(**config.vae)

    def speed_up(self, size: int) -> None:
        """For weights that stay: the same numbers but for rounding, sooner.

        Upsampling folded (the VAE's, and the UNet's where pictures of side `size` have latents that halve without
        rest), channels last, embeddings of times and sizes kept.
        """
        fold_upsampling(self.vae.decoder)
        halvings = len(self.config.decoder.unet["block_out_channels"]) - 1
        if size % (self.config.latent_down << halvings) == 0:
            fold_upsampling(self.decoder.unet)
        self.to(memory_format=torch.channels_last)
        self.decoder.remember()

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, s, s) -> (B, code_dim, s/16, s/16), before quantization; s is 224, 256 or 288."""
        return self.quant_conv(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, s, s) -> ids (B, s/16, s/16) int64."""
        return self.quantize.encode(self.features(images))

    def code_map(self, ids: Tensor, size: int) -> Tensor:
        """ids (B, h, w) -> codes at the latents' resolution (B, code_dim, S/8, S/8) for pictures of side S.

        Nearest neighbour, source = floor(target * h / (S/8)): 14 rows become 128 in runs of 9 and 10.
        """
        side = size // self.config.latent_down
        return F.interpolate(self.quantize.lookup(ids), (side, side), mode="nearest")

    def latent_shape(self, size: int) -> tuple[int, int, int]:
        side = size // self.config.latent_down
        return (self.config.vae["latent_channels"], side, side)

    def sample(
        self, code_map: Tensor, seeds: Tensor, size: int, sampler: str, steps: int, cond_scale: float = 1.0
    ) -> Tensor:
        """Code map (B, code_dim, S/8, S/8) -> clean latents (B, 4, S/8, S/8), scaled.

        Args:
            seeds: (B,) int64, one an image; the noise streams are "start", "renoise 1", ...
            sampler, steps: as in `samplers.timesteps`.
            cond_scale: strength of the condition.
        """
        shape = self.latent_shape(size)
        return samplers.sample(
            lambda x, t: self.decoder(x, t, code_map, size, cond_scale).float(),
            lambda stream: noise(seeds, shape, stream).to(code_map),
            sampler,
            steps,
        )

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> mean and log variance of the latents, unscaled."""
        found = self.vae.encode(images).latent_dist
        return found.mean, found.logvar

    def latents(self, images: Tensor, draw: Tensor) -> Tensor:
        """A draw from the VAE's posterior, scaled, (B, 4, S/8, S/8)."""
        return drawn_latents(self.vae, moments(self.vae, images), draw)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """(B, 4, h, w), scaled -> (B, 3, 8h, 8w), about [-1, 1], unclamped."""
        return decode_latents(self.vae, latents)
