"""LaCTok: LlamaGen's encoder and codebook, and a latent diffusion decoder on SDXL's UNet and VAE.

An image becomes 14x14, 16x16 or 18x18 ids. Their codes, enlarged to the resolution of the VAE's latents, are the code
map, the condition under which a few steps of diffusion generate the latents; the VAE decodes these to an image.
Source: arXiv 2503.08377 and Alpha-X-95/LaCToK `tokenizer.py`, `model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts, Side
from lactok.errors import UserError
from lactok.nn import samplers
from lactok.nn.latent_decoder import DecoderConfig, LatentDecoder, fold_upsampling
from lactok.nn.quantize import VectorQuantizer
from lactok.nn.vqgan import Encoder, VQConfig
from lactok.randomness import noise
from lactok.weights.metadata import BUNDLED, bundled_shape, notes

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

# arguments of diffusers' `AutoencoderKL` for the VAE of stabilityai/stable-diffusion-xl-base-1.0
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
    """Shape of a VAE of SDXL's kind, as recipes and weight files state it.

    Attributes:
        channels: widths from the finest level to the coarsest; each level has half the side of the one before.
        layers: residual blocks of a level.
        latent_channels: channels of the latents.
        groups: groups of the group norms.
        sample_size: side of a tile in pixels, where images are decoded in tiles.

    Raises:
        UserError: widths that are no multiples of `groups`.
    """

    channels: Counts
    layers: Count = 1
    latent_channels: Count = 4
    groups: Count = 8
    sample_size: Side = 256

    def __post_init__(self) -> None:
        if not self.channels or any(c % self.groups for c in self.channels):
            raise UserError(f"[model] channels must be multiples of groups = {self.groups}, not {list(self.channels)}")

    def arguments(self) -> dict[str, object]:
        """Return the arguments of diffusers' `AutoencoderKL` for a VAE of this shape."""
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


# the same network as a recipe states it
SDXL_VAE_SHAPE = VAEShape(channels=(128, 256, 512, 512), layers=2, groups=32, sample_size=1024)


def bundled_vae(name: str, beside: str) -> dict[str, object]:
    """Return the arguments of diffusers' `AutoencoderKL` for a small VAE that the package ships.

    Args:
        name: name of the VAE's weights, whose file states its shape.
        beside: name of the weights of a network that works in the VAE's latents, whose file states the scaling factor
            that the network was trained with.
    """
    scaling = notes(BUNDLED / f"{beside}.safetensors")["scaling"]
    return dict(bundled_shape(name, "model", VAEShape).arguments()) | {"scaling_factor": scaling}


@dataclass(frozen=True)
class LaCTokConfig:
    """Shape of a `LaCTok`; the defaults are those of the published model.

    Attributes:
        encoder: shape of LlamaGen's VQ-16, of which only the encoder and the codebook are used.
        decoder: shape of the latent diffusion decoder.
        vae: arguments of diffusers' `AutoencoderKL`.
    """

    encoder: VQConfig = field(default_factory=VQConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vae: Mapping[str, Any] = field(default_factory=lambda: SDXL_VAE)

    @property
    def latent_down(self) -> int:
        """Side of an image in pixels divided by the side of its latents."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)


def resize(images: Tensor, size: int) -> Tensor:
    """Images (B, 3, H, W) -> (B, 3, size, size), resized as LaCTok's training does: bilinear without antialiasing."""
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def moments(vae: Any, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1] -> mean and std of their latents, unscaled, side by side (B, 2 * C, h, w)."""
    posterior = vae.encode(images).latent_dist
    return torch.cat([posterior.mean, posterior.std], 1)


def drawn_latents(vae: Any, moments: Tensor, noise: Tensor) -> Tensor:
    """Sample latents from their mean and std.

    Args:
        vae: the VAE, whose scaling factor is applied.
        moments: what the function `moments` returns, (B, 2 * C, h, w).
        noise: standard normal noise (B, C, h, w), or zero for the mean.

    Returns:
        Scaled latents (B, C, h, w) float32.
    """
    mean, std = moments.float().chunk(2, 1)
    return (mean + std * noise) * vae.config.scaling_factor


def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Scaled latents (B, C, h, w) -> images (B, 3, S, S), about [-1, 1], unclamped.

    SDXL's VAE overflows in float16, so that under autocast to float16 it computes in float32.
    """
    kind = latents.device.type
    overflows = (
        not latents.is_meta and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    )
    with torch.autocast(kind, enabled=False) if overflows else nullcontext():
        return vae.decode(latents.float() / vae.config.scaling_factor, return_dict=False)[0]


class LaCTok(nn.Module):
    """Encoder with codebook, latent diffusion decoder and VAE; images are in [-1, 1].

    Shapes below are the published model's: images of side S have latents of side S/8.
    """

    def __init__(self, config: LaCTokConfig):
        from diffusers import AutoencoderKL

        super().__init__()
        self.config = config
        vq = config.encoder
        self.encoder = Encoder(vq)
        self.quant_conv = nn.Conv2d(vq.z_channels, vq.codebook_dim, 1)
        self.quantize = VectorQuantizer(vq.codebook_size, vq.codebook_dim, vq.l2_norm)
        self.decoder = LatentDecoder(config.decoder)
        self.vae: AutoencoderKL = AutoencoderKL(**config.vae)

    def optimize_for_inference(self, size: int) -> None:
        """Change the network so that it decodes faster, once its weights are loaded and will not change any more.

        Results stay the same but for rounding. Upsampling and the convolution after it become one (see
        `fold_upsampling`), memory is laid out with channels last, and embeddings of times and sizes are cached.

        Args:
            size: side of the images in pixels. Where a level of the UNet has an odd side for it, the UNet's
                upsampling stays as it is.
        """
        fold_upsampling(self.vae.decoder)
        halvings = len(self.config.decoder.unet["block_out_channels"]) - 1
        if size % (self.config.latent_down * 2**halvings) == 0:
            fold_upsampling(self.decoder.unet)
        self.to(memory_format=torch.channels_last)
        self.decoder.cache_embeddings()

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, s, s) in [-1, 1] -> features before quantization (B, code_dim, s/16, s/16), as for `encode`."""
        return self.quant_conv(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, s, s) in [-1, 1], s 224, 256 or 288 -> ids (B, s/16, s/16) int64."""
        return self.quantize.encode(self.features(images))

    def code_map(self, ids: Tensor, size: int) -> Tensor:
        """Ids (B, h, w) -> code map (B, code_dim, S/8, S/8) for images of side S = `size` in pixels.

        It is enlarged by nearest neighbour without centring: row i of the map is row floor(i * h / (S/8)) of the ids,
        so that 14 rows become 128 in runs of 9 and 10.
        """
        side = size // self.config.latent_down
        return F.interpolate(self.quantize.lookup(ids), (side, side), mode="nearest")

    def latent_shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape (C, h, w) of the latents of an image of side `size` in pixels."""
        side = size // self.config.latent_down
        return (self.config.vae["latent_channels"], side, side)

    def sample(
        self, code_map: Tensor, seeds: Tensor, size: int, sampler: str, steps: int, cond_scale: float = 1.0
    ) -> Tensor:
        """Generate latents by diffusion.

        Args:
            code_map: the condition (B, code_dim, S/8, S/8).
            seeds: (B,) int64, one for each image; `samplers.sample` names the uses of their noise.
            size: side S of the images in pixels.
            sampler, steps: as in `samplers.timesteps`.
            cond_scale: strength of the condition.

        Returns:
            Scaled clean latents (B, 4, S/8, S/8).
        """
        shape = self.latent_shape(size)

        def predict(x: Tensor, t: int) -> Tensor:
            return self.decoder(x, t, code_map, size, cond_scale).float()

        def draw_noise(stream: str) -> Tensor:
            return noise(seeds, shape, stream).to(code_map)

        return samplers.sample(predict, draw_noise, sampler, steps)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) in [-1, 1] -> mean and log variance of their latents, (B, 4, S/8, S/8) each, unscaled."""
        found = self.vae.encode(images).latent_dist
        return found.mean, found.logvar

    def latents(self, images: Tensor, noise: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] and standard normal noise (B, 4, S/8, S/8) -> scaled latents of its shape."""
        return drawn_latents(self.vae, moments(self.vae, images), noise)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 4, h, w) -> images (B, 3, 8 * h, 8 * w), about [-1, 1], unclamped."""
        return decode_latents(self.vae, latents)
