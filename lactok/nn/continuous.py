"""Autoencoders of diffusers whose latents are numbers instead of ids: their published shapes, and what they compute.

A shape is the class and its arguments, which the `config.json` beside the weights states. The classes are diffusers'.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, one_line
from lactok.outside_text import shown
from lactok.specs import Asset, Hub, Option

if TYPE_CHECKING:
    from torch import Tensor

# 32 is what published figures are of; rounding to fewer may depend on the batch size
VALUE_BITS = Option(32, "bits of a stored latent: 16 float16, 32 float32", choices=(16, 32))
CLASSES = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny")


def weight_file(
    name: str, license: str, repository: str, megabytes: int, folder: str = "", revision: str | None = None
) -> Asset:
    """Return the weights of an autoencoder in diffusers' layout.

    Args:
        name: the asset's name.
        license: of the weights.
        repository: on the Hugging Face hub.
        megabytes: approximate size of the file.
        folder: where it lies in the repository, such as "vae/".
        revision: the commit that is used, None for the newest.
    """
    source = Hub(repository, f"{folder}diffusion_pytorch_model.safetensors", revision=revision)
    return Asset(name, license, (source,), "lactok.nn.unclip_checkpoint:convert_vae", megabytes * 10**6)


# Stable Diffusion XL's, which LaCTok decodes with too
SDXL, SDXL_REVISION = "stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b"
SDXL_VAE_FILE = weight_file("sdxl-vae", "CreativeML Open RAIL++-M", SDXL, 335, "vae/", SDXL_REVISION)


@dataclass(frozen=True)
class Shape:
    """A class of diffusers, one of `CLASSES`, and the arguments of its constructor."""

    kind: str
    arguments: Mapping[str, Any]

    @property
    def downsampling(self) -> int:
        """Side of an image in pixels divided by the side of its latents."""
        name = {"AutoencoderKL": "block_out_channels"}.get(self.kind, "encoder_block_out_channels")
        return int(2 ** (len(self.arguments[name]) - 1))

    @property
    def channels(self) -> int:
        """Number of values at each place of the latents."""
        return int(self.arguments["latent_channels"])


def kl(latent_channels: int) -> Shape:
    """Return the shape of the VAEs of Stable Diffusion (4 channels), or of SD 3 and FLUX (16 channels)."""
    convolved = latent_channels == 4  # the later ones have no 1x1 convolutions around the latents
    return Shape(
        "AutoencoderKL",
        {
            "block_out_channels": [128, 256, 512, 512],
            "layers_per_block": 2,
            "latent_channels": latent_channels,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "use_quant_conv": convolved,
            "use_post_quant_conv": convolved,
        },
    )


def dc(widths: tuple[int, ...], latent_channels: int) -> Shape:
    """Return the shape of one of the DC-AEs that were trained on ImageNet (Chen et al. 2024)."""
    levels = len(widths)
    blocks = ["ResBlock"] * 3 + ["EfficientViTBlock"] * (levels - 3)
    return Shape(
        "AutoencoderDC",
        {
            "latent_channels": latent_channels,
            "encoder_block_types": blocks,
            "decoder_block_types": blocks,
            "encoder_block_out_channels": list(widths),
            "decoder_block_out_channels": list(widths),
            "encoder_layers_per_block": [0, 4, 8] + [2] * (levels - 3),
            "decoder_layers_per_block": [0, 5, 10] + [2] * (levels - 3),
            "encoder_qkv_multiscales": [[]] * levels,
            "decoder_qkv_multiscales": [[]] * levels,
            "decoder_norm_types": ["batch_norm"] * 3 + ["rms_norm"] * (levels - 3),
            "decoder_act_fns": ["relu"] * 3 + ["silu"] * (levels - 3),
        },
    )


def tiny(latent_channels: int) -> Shape:
    """Return the shape of the small autoencoders that were distilled from the VAEs of Stable Diffusion or FLUX."""
    return Shape("AutoencoderTiny", {"latent_channels": latent_channels, "encoder_block_out_channels": [64] * 4})


def build(shape: Shape) -> Any:
    """Return the network of a shape.

    Raises:
        UserError: diffusers takes other arguments.
    """
    import diffusers

    try:
        return getattr(diffusers, shape.kind)(**shape.arguments)
    except Exception as error:  # whatever diffusers raises for values that do not fit together
        raise UserError(f"{shape.kind} of diffusers cannot be built of these sizes ({one_line(error)})") from error


def read_config(tensors: Mapping[str, Tensor]) -> Shape:
    """Return the shape that a `config.json` describes, which is kept as {"json": its bytes}.

    Raises:
        UserError: it names another class, or arguments that the class of the installed diffusers does not have.
    """
    import diffusers

    found = json.loads(bytes(tensors["json"].tolist()))
    kind = found.get("_class_name") if isinstance(found, dict) else None
    if kind not in CLASSES:
        raise UserError(f"the autoencoder's config.json names {shown(kind)}, expected one of {', '.join(CLASSES)}")
    arguments = {key: value for key, value in found.items() if not key.startswith("_")}  # the others are notes
    unknown = sorted(arguments.keys() - inspect.signature(getattr(diffusers, kind)).parameters.keys())
    if unknown:
        raise UserError(
            f"the autoencoder's config.json has {shown(unknown[0])}, which diffusers {diffusers.__version__} does not "
            f"know of {kind}; is diffusers too old?"
        )
    return Shape(kind, arguments)


def check_config(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a stored `config.json` as it is, if `read_config` can read it; raise its UserError if not."""
    read_config(tensors)
    return tensors


def posterior_option(default: str) -> Option:
    """Return the option that says which latents a VAE is decoded from; `default` is "mode" or "sample"."""
    return Option(default, "the latents: the posterior's mean, or a sample of it", choices=("mode", "sample"))


def encode(model: Any, images: Tensor, noise: Callable[[tuple[int, ...]], Tensor] | None = None) -> Tensor:
    """Return latents (B, C, h, w) float32 of images (B, 3, H, W) in [-1, 1], unscaled.

    Args:
        model: the network.
        images: the images.
        noise: draws standard normal noise (B, C, h, w) of the shape (C, h, w) for a sample of the posterior; None for
            its mean. Only VAEs, `AutoencoderKL`, have a posterior.
    """
    found = model.encode(images)
    if hasattr(found, "latent_dist"):
        mean = found.latent_dist.mean.float()
        return mean if noise is None else mean + found.latent_dist.std.float() * noise(tuple(mean.shape[1:]))
    latents: Tensor = found.latents if hasattr(found, "latents") else found.latent
    return latents.float()


def stored(model: Any, latents: Tensor, bits: int) -> Tensor:
    """Return latents as they are after they were kept with so many bits a value: 32, 16 (float16) or 8.

    Only `AutoencoderTiny` says how 8 bits are meant: 256 steps of the range that its config states.
    """
    if bits == 8:
        steps: Tensor = model.scale_latents(latents).mul(255).round()
        unscaled: Tensor = model.unscale_latents(steps / 255)
        return unscaled
    return latents.half().float() if bits == 16 else latents


def decode(model: Any, latents: Tensor) -> Tensor:
    """Return images (B, 3, H, W), about [-1, 1], of latents (B, C, h, w), unscaled."""
    images: Tensor = model.decode(latents).sample
    return images
