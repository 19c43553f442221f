"""The MaskGIT-VQGAN: a convolutional VQ autoencoder without attention; TiTok's first models decode through its decoder.

Source: bytedance/1d-tokenizer `modeling/modules/maskgit_vqgan.py`, after google-research/maskgit. Quirks of the
original that are kept: where a block changes the number of channels, its 1x1 shortcut reads the block's *output*
instead of its input; downsampling is a mean over 2x2 without weights; images are in [0, 1]; most convolutions have no
bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts
from lactok.nn.quantize import VectorQuantizer


@dataclass(frozen=True)
class MaskGITConfig(Config):
    """Shape of a `MaskGITVQGAN`; the defaults are those of the ImageNet model, which divides an image's side by 16.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest.
        res_blocks: residual blocks of a level.
        z_channels: channels of the features before quantization, which are also the width of a code.
        codebook_size: number of codes.
        groups: groups of the group norms. Narrow networks need fewer: a group of one channel loses the channel's mean.
    """

    channels: Count = 128
    channel_mult: Counts = (1, 1, 2, 2, 4)
    res_blocks: Count = 2
    z_channels: Count = 256
    codebook_size: Count = 1024
    groups: Count = 32

    @property
    def widths(self) -> list[int]:
        """The widths of the levels, from the finest to the coarsest."""
        return [self.channels * m for m in self.channel_mult]


def conv3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the resolution."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return a group norm with the original's eps."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResBlock(nn.Module):
    """Group norm, swish and a 3x3 convolution, twice, and a residual connection; (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, in_channels: int, out_channels: int, groups: int):
        super().__init__()
        self.norm1 = norm(in_channels, groups)
        self.conv1 = conv3(in_channels, out_channels)
        self.norm2 = norm(out_channels, groups)
        self.conv2 = conv3(out_channels, out_channels)
        self.changes_channels = in_channels != out_channels
        if self.changes_channels:
            self.nin_shortcut = nn.Conv2d(out_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        if self.changes_channels:
            return h + self.nin_shortcut(h)  # quirk: the shortcut reads h, not x
        return h + x


class Level(nn.Module):
    """Residual blocks of one resolution.

    `upsample_conv`, which the decoder's levels but the finest have, is called by `Decoder` after it doubled the
    resolution.

    Args:
        widths: channels before the first block and after each block.
        groups: of the group norms.
        upsample: whether the level has an `upsample_conv`.
    """

    def __init__(self, widths: Sequence[int], groups: int, upsample: bool = False):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(a, b, groups) for a, b in pairwise(widths))
        if upsample:
            self.upsample_conv = conv3(widths[-1], widths[-1], bias=True)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [0, 1] -> features before quantization (B, z_channels, H/f, W/f)."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        widths, n, groups = config.widths, config.res_blocks, config.groups
        self.conv_in = conv3(3, config.channels)
        inputs = [config.channels, *widths[:-1]]
        self.down = nn.ModuleList(Level([a] + [b] * n, groups) for a, b in zip(inputs, widths, strict=True))
        self.mid = nn.ModuleList(ResBlock(widths[-1], widths[-1], groups) for _ in range(n))
        self.norm_out = norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for i, level in enumerate(self.down):
            h = level(h)
            if i != len(self.down) - 1:
                h = F.avg_pool2d(h, 2)
        for block in self.mid:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Codes (B, z_channels, h, w) -> images (B, 3, h*f, w*f), about [0, 1], unclamped."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        widths, n, groups = config.widths, config.res_blocks, config.groups
        self.conv_in = conv3(config.z_channels, widths[-1], bias=True)
        self.mid = nn.ModuleList(ResBlock(widths[-1], widths[-1], groups) for _ in range(n))
        inputs = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList()  # up[0] is the finest level and runs last
        for i, (before, width) in enumerate(zip(inputs, widths, strict=True)):
            self.up.append(Level([before] + [width] * n, groups, upsample=i > 0))
        self.norm_out = norm(widths[0], groups)
        self.conv_out = conv3(widths[0], 3, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        for block in self.mid:
            h = block(h)
        for i in reversed(range(len(self.up))):
            h = self.up[i](h)
            if i:
                h = self.up[i].get_submodule("upsample_conv")(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


class MaskGITVQGAN(nn.Module):
    """Encoder, codebook and decoder. Unlike in `lactok.nn.vqgan`, no convolutions stand around the codebook."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = VectorQuantizer(config.codebook_size, config.z_channels, l2_norm=False)

    def encode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encoder(x))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*f, w*f), about [0, 1], unclamped."""
        return self.decoder(self.quantize.lookup(ids))
