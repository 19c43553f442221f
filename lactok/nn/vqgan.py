"""The VQ-GAN convolutional autoencoder with a codebook, under LlamaGen's parameter names.

Source: LlamaGen `tokenizer/tokenizer_image/vq_model.py` (itself after taming-transformers). The quirks kept are
the asymmetric padding of the downsampling, GroupNorm with eps 1e-6 and the decoder's one extra block a level.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.errors import UserError
from lactok.nn.quantize import VectorQuantizer


@dataclass(frozen=True)
class VQConfig(Config):
    """Shape of a `VQModel`; the defaults are LlamaGen's VQ-16.

    Attributes:
        attention: levels, as indices of `channel_mult`, whose residual blocks are each followed by attention, in the
            encoder and in the decoder. LlamaGen has it at the lowest alone; taming-transformers names resolutions.
            Between the two residual blocks in the middle there always is one.
    """

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    res_blocks: int = 2  # in the encoder; the decoder has one more a level
    z_channels: int = 256
    codebook_size: int = 16384
    codebook_dim: int = 8
    l2_norm: bool = True
    usage_buffer: bool = True  # LlamaGen's files carry `quantize.codebook_used`
    attention: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        widths = [self.channels * m for m in (1, *self.channel_mult)]
        if not self.channel_mult or any(w <= 0 or w % 32 for w in widths):
            raise UserError(f"channels * channel_mult must be multiples of 32 (GroupNorm's groups), not {widths}")
        levels = len(self.channel_mult)
        if any(not -levels <= level < levels for level in self.attention):
            raise UserError(f"attention names levels of channel_mult, from 0 to {levels - 1}, not {self.attention}")

    def attends(self, level: int) -> bool:
        """Whether a level, 0 for the finest, has attention."""
        return level in self.attention or level - len(self.channel_mult) in self.attention

    @property
    def downsampling(self) -> int:
        """Image pixels to a token, along a side."""
        return 2 ** (len(self.channel_mult) - 1)


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResBlock(nn.Module):
    """GroupNorm, swish and a 3x3 convolution, twice, beside a 1x1 shortcut where the channels change."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.changes_channels = in_channels != out_channels

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if self.changes_channels else x) + h


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions, scale 1/sqrt(channels)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))  # (B, hw, C)
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(out.transpose(1, 2).reshape(b, c, height, width))


class Downsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # quirk: padded on the right and below only


class Upsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, attention after each where it is wanted, then the change of resolution."""

    def __init__(self, widths: Sequence[int], attention: bool, resample: nn.Module | None, resample_name: str):
        super().__init__()
        self.res = nn.ModuleList(ResBlock(a, b) for a, b in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(b) for b in widths[1:] if attention)
        if resample is not None:
            self.add_module(resample_name, resample)
        self.resample_name = resample_name if resample is not None else None

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return x if self.resample_name is None else self.get_submodule(self.resample_name)(x)


def middle(channels: int) -> nn.ModuleList:
    return nn.ModuleList([ResBlock(channels, channels), AttnBlock(channels), ResBlock(channels, channels)])


class Encoder(nn.Module):
    """(B, 3, H, W) -> (B, z_channels, H/f, W/f)."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.channels * m for m in config.channel_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        self.conv_blocks = nn.ModuleList()
        previous = config.channels
        for i, width in enumerate(widths):
            down = Downsample(width) if i != last else None
            blocks = [previous] + [width] * config.res_blocks
            self.conv_blocks.append(Level(blocks, config.attends(i), down, "downsample"))
            previous = width
        self.mid = middle(previous)
        self.norm_out = norm(previous)
        self.conv_out = nn.Conv2d(previous, config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for block in [*self.conv_blocks, *self.mid]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """(B, z_channels, h, w) -> (B, 3, h*f, w*f)."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.channels * m for m in reversed(config.channel_mult)]
        last = len(widths) - 1
        previous = widths[0]
        self.conv_in = nn.Conv2d(config.z_channels, previous, 3, padding=1)
        self.mid = middle(previous)
        self.conv_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            up = Upsample(width) if i != last else None
            blocks = [previous] + [width] * (config.res_blocks + 1)
            self.conv_blocks.append(Level(blocks, config.attends(last - i), up, "upsample"))
            previous = width
        self.norm_out = norm(previous)
        self.conv_out = nn.Conv2d(previous, 3, 3, padding=1)

    @property
    def last_layer(self) -> Tensor:
        """The weight at which an adversarial loss is balanced against the reconstruction loss."""
        return self.conv_out.weight

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        for block in [*self.mid, *self.conv_blocks]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class VQModel(nn.Module):
    """Encoder, codebook and decoder; images are about [-1, 1], the output is not clamped."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = VectorQuantizer(
            config.codebook_size, config.codebook_dim, config.l2_norm, usage_buffer=config.usage_buffer
        )
        self.quant_conv = nn.Conv2d(config.z_channels, config.codebook_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.codebook_dim, config.z_channels, 1)

    def encode_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, codebook_dim, H/f, W/f), before quantization."""
        return self.quant_conv(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encode_features(x))

    def decode_features(self, z: Tensor) -> Tensor:
        """(B, codebook_dim, h, w), quantized -> (B, 3, h*f, w*f), unclamped."""
        return self.decoder(self.post_quant_conv(z))

    def decode(self, ids: Tensor) -> Tensor:
        """ids (B, h, w) -> (B, 3, h*f, w*f), unclamped."""
        return self.decode_features(self.quantize.lookup(ids))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Training pass: reconstruction, features before quantization, ids; gradients pass straight through."""
        z = self.encode_features(x)
        ids = self.quantize.encode(z.detach())
        return self.decode_features(self.quantize.straight_through(z, ids)), z, ids


def from_taming(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of taming-transformers under this module's names; losses and optimizer states are left out.

    `down.i.attn.j` and `up.i.attn.j`, attention after the block j, may stand at any level. Taming counts decoder levels
    from the finest (`up.0` runs last), LlamaGen in the order in which they run.
    """
    inside = {k.removeprefix("state_dict."): v for k, v in tensors.items() if k.startswith("state_dict.")} or tensors
    levels = 1 + max((int(m[1]) for k in inside if (m := re.match(r"decoder\.up\.(\d+)\.", k))), default=0)
    out = {}
    for name, tensor in inside.items():
        if name.startswith("loss."):
            continue
        for i, middle_name in enumerate(("block_1", "attn_1", "block_2")):
            name = name.replace(f".mid.{middle_name}.", f".mid.{i}.")
        name = re.sub(r"^encoder\.down\.", "encoder.conv_blocks.", name)
        name = re.sub(r"^decoder\.up\.(\d+)", lambda m: f"decoder.conv_blocks.{levels - 1 - int(m[1])}", name)
        out[re.sub(r"(conv_blocks\.\d+)\.block\.", r"\1.res.", name)] = tensor
    return out
