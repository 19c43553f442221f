"""Cosmos' discrete image tokenizers: patches by Haar wavelets, an autoencoder of taming's kind, and FSQ.

Source: NVIDIA/Cosmos-Tokenizer `cosmos_tokenizer/modules/layers2d.py`, `patching.py` and `networks/discrete_image.py`;
NVIDIA 2025, arXiv 2501.03575. The names are those of the official files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts
from lactok.errors import UserError
from lactok.nn.quantize import FSQ
from lactok.nn.taming import Level, Middle
from lactok.nn.vqgan import AttnBlock, norm

# the last parts of the names of constants that the published TorchScript files hold beside the weights
CONSTANTS = ("wavelets", "_arange", "_levels", "_basis", "implicit_codebook")


@dataclass(frozen=True)
class CosmosConfig(Config):
    """Shape of a `Cosmos`; the defaults are those of DI16x16.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest.
        res_blocks: residual blocks of a level of the encoder; the decoder's levels have one more.
        z_channels: channels of the decoder's input.
        z_factor: the encoder's output has this times as many channels.
        levels: of FSQ, the first one the least significant digit of an id.
        downsampling: side of an image in pixels divided by the side of its map of ids.
        patch: side in pixels of the patches that become channels; a power of two.
        patching: how they do: by wavelets, or all pixels of a patch as they are.
        attention: sides of feature maps at which each residual block of a level is followed by attention, for images
            of `resolution` pixels. The middle always has one.
        resolution: side of these images; the size of those that are encoded has no influence.
    """

    channels: Count = 128
    channel_mult: Counts = (2, 4, 4)
    res_blocks: Count = 2
    z_channels: Count = 256
    z_factor: Count = 1
    levels: Counts = (8, 8, 8, 5, 5, 5)
    downsampling: Count = 16
    patch: Count = 4
    patching: Literal["haar", "rearrange"] = "haar"
    attention: tuple[Count, ...] = (32,)
    resolution: Count = 1024

    def __post_init__(self) -> None:
        widths = [self.channels * m for m in (1, *self.channel_mult)]
        if any(w % 32 for w in widths):
            raise UserError(f"channels * channel_mult must be multiples of 32 (GroupNorm's groups), not {widths}")
        if any(side & (side - 1) for side in (self.patch, self.downsampling)):
            raise UserError(f"patch {self.patch} and downsampling {self.downsampling} must be powers of two")
        if not 0 <= self.halvings <= len(self.channel_mult):
            raise UserError(
                f"downsampling {self.downsampling} by patches of {self.patch} and at most {len(self.channel_mult)} "
                "levels is not possible"
            )

    @property
    def halvings(self) -> int:
        """Number of levels that change the resolution."""
        return self.downsampling.bit_length() - self.patch.bit_length()

    @property
    def widths(self) -> list[int]:
        """Channels of the levels, from the finest to the coarsest."""
        return [self.channels * m for m in self.channel_mult]


def haar(x: Tensor) -> Tensor:
    """Cells of 2x2 pixels -> their mean, and their differences down, across and diagonally.

    (B, C, 2h, 2w) -> (B, 4C, h, w), C channels of each of the four. An odd side is reflected by one pixel.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="reflect")
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], 1) / 4


def unhaar(x: Tensor) -> Tensor:
    """Undo `haar`: (B, 4C, h, w) -> (B, C, 2h, 2w)."""
    mean, down, across, diagonal = x.chunk(4, 1)
    cells = [
        mean + down + across + diagonal,
        mean + down - across - diagonal,
        mean - down + across - diagonal,
        mean - down - across + diagonal,
    ]
    return F.pixel_shuffle(torch.stack(cells, 2).flatten(1, 2), 2)


def to_patches(images: Tensor, config: CosmosConfig) -> Tensor:
    """Images (B, 3, H, W) -> patches (B, 3 * patch^2, H / patch, W / patch)."""
    if config.patching == "rearrange":
        return F.pixel_unshuffle(images, config.patch)
    for _ in range(config.patch.bit_length() - 1):
        images = haar(images)  # of all channels, not of the means alone
    return images


def from_patches(patches: Tensor, config: CosmosConfig) -> Tensor:
    """Undo `to_patches`."""
    if config.patching == "rearrange":
        return F.pixel_shuffle(patches, config.patch)
    for _ in range(config.patch.bit_length() - 1):
        patches = unhaar(patches)
    return patches


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, z_factor * z_channels, H/f, W/f), f the config's downsampling."""

    def __init__(self, config: CosmosConfig):
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv2d(3 * config.patch**2, config.channels, 3, padding=1)
        self.down = nn.ModuleList()
        side = config.resolution // config.patch
        for i, (width_in, width) in enumerate(pairwise([config.channels, *config.widths])):
            attention = AttnBlock if side in config.attention else None
            halves = i < config.halvings
            self.down.append(Level(width_in, width, config.res_blocks, "downsample" if halves else "", attention))
            side //= 2 if halves else 1
        self.mid = Middle(config.widths[-1])
        self.norm_out = norm(config.widths[-1])
        self.conv_out = nn.Conv2d(config.widths[-1], config.z_factor * config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(to_patches(x, self.config))
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Features (B, z_channels, h, w) -> patches (B, 3 * patch^2, h*f / patch, w*f / patch)."""

    def __init__(self, config: CosmosConfig):
        super().__init__()
        widths = config.widths
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        levels: list[Level] = []
        # quirk: as if every level but one had halved the side, which decides where there is attention
        side = config.resolution // config.patch // 2 ** (len(widths) - 1)
        for i, (width, width_in) in reversed(list(enumerate(zip(widths, [*widths[1:], widths[-1]], strict=True)))):
            attention = AttnBlock if side in config.attention else None
            # quirk: the coarsest levels double the resolution, where the finest ones of the encoder halve it
            doubles = i >= len(widths) - config.halvings
            levels.append(Level(width_in, width, config.res_blocks + 1, "upsample" if doubles else "", attention))
            side *= 2 if doubles else 1
        self.up = nn.ModuleList(reversed(levels))  # up[0] is the finest level and runs last
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3 * config.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Cosmos(nn.Module):
    """Turns images (B, 3, H, W) in [-1, 1] into ids (B, H/f, W/f), and ids into images."""

    def __init__(self, config: CosmosConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = FSQ(config.levels)  # has no weights
        self.quant_conv = nn.Conv2d(config.z_factor * config.z_channels, len(config.levels), 1)
        self.post_quant_conv = nn.Conv2d(len(config.levels), config.z_channels, 1)

    def encode_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features before quantization (B, C, H/f, W/f), C the levels of FSQ."""
        return self.quant_conv(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        features = self.encode_features(images)
        ids = self.quantize.encode(features.flatten(2).transpose(1, 2))
        return ids.unflatten(1, tuple(features.shape[2:]))

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> codes (B, C, h, w) float32, about [-1, 1]."""
        return self.quantize.lookup(ids).permute(0, 3, 1, 2)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Codes (B, C, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return from_patches(self.decoder(self.post_quant_conv(codes)), self.config)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decode_codes(self.lookup(ids))


def left_out(name: str) -> str:
    """Return why a tensor of a published file is not loaded; "" for weights."""
    return "a constant that the network computes" if name.rpartition(".")[2] in CONSTANTS else ""


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an `autoencoder.jit`, whose constants are left out; all other names must be the network's.

    The file is TorchScript: its tensors are read, and nothing in it is run.
    """
    return {name: tensor for name, tensor in tensors.items() if not left_out(name)}
