"""Show-o's image tokenizer: an autoencoder of MAGVIT-v2's kind for single images, with a look-up-free quantizer.

Source: showlab/Show-o `models/modeling_magvitv2.py`; Yu et al. 2023, arXiv 2310.05737. Unlike LlamaGen's VQGAN, its
encoder and decoder have their own widths and numbers of blocks at each level, the decoder has no additional block, and
attention is in the middle alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.vqgan import AttnBlock, Downsample, ResBlock, Upsample, norm


@dataclass(frozen=True)
class MagvitConfig(Config):
    """Shape of a `MagvitV2`; the defaults are those of Show-o's.

    Attributes:
        channels: the width of a level is this times its entry in `encoder_mult` or `decoder_mult`.
        encoder_mult, decoder_mult: from the finest level to the coarsest.
        encoder_blocks, decoder_blocks: residual blocks of each level, in the same order.
        bits: of an id, which are the channels of the features.
    """

    channels: int = 128
    encoder_mult: tuple[int, ...] = (1, 2, 2, 4, 4)
    encoder_blocks: tuple[int, ...] = (4, 3, 4, 3, 4)
    decoder_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    decoder_blocks: tuple[int, ...] = (4, 4, 3, 4, 3)
    bits: int = 13

    @property
    def downsampling(self) -> int:
        """Side of an image in pixels divided by the side of its map of ids."""
        return 2 ** (len(self.encoder_mult) - 1)


class Middle(nn.Module):
    """Two residual blocks with attention between them; (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, width: int):
        super().__init__()
        self.block_1 = ResBlock(width, width)
        self.attn_1 = AttnBlock(width)
        self.block_2 = ResBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Residual blocks of one resolution, then a change of resolution where there is one.

    Args:
        width_in, width: channels before and after the first block.
        blocks: number of blocks.
        resample: "downsample", "upsample", or "" for none.
    """

    def __init__(self, width_in: int, width: int, blocks: int, resample: str):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(a, b) for a, b in pairwise([width_in] + [width] * blocks))
        self.resample = resample
        if resample:
            self.add_module(resample, Downsample(width) if resample == "downsample" else Upsample(width))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.get_submodule(self.resample)(x) if self.resample else x


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, bits, H/f, W/f)."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        widths = [config.channels * m for m in config.encoder_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        self.down = nn.ModuleList(
            Level(a, b, n, "" if i == last else "downsample")
            for i, ((a, b), n) in enumerate(
                zip(pairwise([config.channels, *widths]), config.encoder_blocks, strict=True)
            )
        )
        self.mid = Middle(widths[-1])
        self.norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(config.bits, config.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    """Codes (B, bits, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        widths = [config.channels * m for m in config.decoder_mult]
        self.post_quant_conv = nn.Conv2d(config.bits, config.bits, 1)
        self.conv_in = nn.Conv2d(config.bits, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList(  # up[0] is the finest level and runs last
            Level(a, b, n, "upsample" if i else "")
            for i, (a, b, n) in enumerate(zip([*widths[1:], widths[-1]], widths, config.decoder_blocks, strict=True))
        )
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(self.post_quant_conv(x)))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class LookupFreeQuantizer(nn.Module):
    """Takes the sign of each channel as a bit of the id, the first channel as the most significant one.

    The buffers are what the published file holds; `embedding` are the codes, -1 and 1.

    Args:
        bits: of an id.
    """

    embedding: Tensor  # (2^bits, bits)
    power_vals: Tensor  # (bits,) int64

    def __init__(self, bits: int):
        super().__init__()
        self.register_buffer("power_vals", 2 ** torch.arange(bits - 1, -1, -1))
        ids = torch.arange(2**bits)[:, None]
        self.register_buffer("embedding", ((ids & self.power_vals) != 0).float() * 2 - 1)

    def encode(self, features: Tensor) -> Tensor:
        """Features (B, bits, h, w) -> ids (B, h, w) int64; a feature of 0 is the bit 0."""
        return ((features > 0) * self.power_vals[:, None, None]).sum(1)

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> codes (B, bits, h, w), -1 and 1."""
        return self.embedding[ids].permute(0, 3, 1, 2)


class MagvitV2(nn.Module):
    """Turns images (B, 3, H, W) in [-1, 1] into ids (B, H/f, W/f), and ids into images."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = LookupFreeQuantizer(config.bits)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encoder(images))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decoder(self.quantize.lookup(ids))
