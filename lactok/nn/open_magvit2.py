"""Open-MAGVIT2's tokenizer: a convolutional autoencoder whose ids are the signs of its features, without a codebook.

Source: TencentARC/SEED-Voken `src/Open_MAGVIT2/modules/diffusionmodules/improved_model.py` (Luo et al. 2024, arXiv
2409.04410). Unlike the VQGAN it has no attention, its residual convolutions have no bias, it halves by convolutions
padded on all sides, and the decoder is told mean and spread of all codes of the image before each level.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts
from lactok.nn.quantize import SignQuantizer
from lactok.nn.vqgan import ResBlock, norm

EPS = 1e-6


@dataclass(frozen=True)
class OpenMagvit2Config(Config):
    """Shape of an `OpenMagvit2`; the defaults are those of the network for 256 px with 2^18 codes.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest.
        res_blocks: residual blocks of each level, and between the levels and the ids, in encoder and decoder alike.
        bits: of an id, which are the channels of the features.
    """

    channels: Count = 128
    channel_mult: Counts = (1, 1, 2, 2, 4)
    res_blocks: Count = 4
    bits: Count = 18

    @property
    def downsampling(self) -> int:
        """Side of an image in pixels divided by the side of its map of ids."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return 2**self.bits

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the finest to the coarsest."""
        return [self.channels * m for m in self.channel_mult]


def blocks(width_in: int, width: int, count: int) -> nn.ModuleList:
    """Return residual blocks of one resolution, the first of which changes the width."""
    return nn.ModuleList(ResBlock(a, b, bias=False) for a, b in pairwise([width_in] + [width] * count))


class Upsample(nn.Module):
    """Doubles the resolution by a 3x3 convolution to four times the channels, (B, C, H, W) -> (B, C, 2H, 2W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).unflatten(1, (2, 2, -1))  # quirk: offsets stand before the channels, unlike F.pixel_shuffle
        return x.permute(0, 3, 4, 1, 5, 2).flatten(2, 3).flatten(3, 4)


class AdaptiveGroupNorm(nn.Module):
    """A group norm whose scale and shift are made from spread and mean of the image's codes.

    They are taken over the whole map of codes, so that each id has an influence on each pixel.

    Args:
        channels: that are normalised.
        bits: channels of the codes.
    """

    def __init__(self, channels: int, bits: int):
        super().__init__()
        self.gn = nn.GroupNorm(32, channels, eps=EPS, affine=False)
        self.gamma = nn.Linear(bits, channels)
        self.beta = nn.Linear(bits, channels)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        """Features (B, C, H, W), codes (B, bits, h, w), more than one of them -> (B, C, H, W)."""
        flat = codes.flatten(2)
        scale = self.gamma((flat.var(-1) + EPS).sqrt())  # quirk: the unbiased variance, nan for a single id
        return scale[..., None, None] * self.gn(x) + self.beta(flat.mean(-1))[..., None, None]


class Level(nn.Module):
    """Residual blocks of one resolution, then a change of resolution where there is one.

    Args:
        width_in, width: channels before and after the first block.
        count: number of blocks.
        **resample: what changes the resolution, by the name that it has in the files.
    """

    def __init__(self, width_in: int, width: int, count: int, **resample: nn.Module):
        super().__init__()
        self.block = blocks(width_in, width, count)
        for name, module in resample.items():
            self.add_module(name, module)
        self.resample = tuple(resample)

    def forward(self, x: Tensor) -> Tensor:
        for module in [*self.block, *map(self.get_submodule, self.resample)]:
            x = module(x)
        return x


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, bits, H/f, W/f), where f is `config.downsampling`."""

    def __init__(self, config: OpenMagvit2Config):
        super().__init__()
        widths, n = config.widths, config.res_blocks
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1, bias=False)
        self.down = nn.ModuleList()
        for i, (width_in, width) in enumerate(pairwise([config.channels, *widths])):
            halving = {"downsample": nn.Conv2d(width, width, 3, stride=2, padding=1)} if i < len(widths) - 1 else {}
            self.down.append(Level(width_in, width, n, **halving))
        self.mid_block = blocks(widths[-1], widths[-1], n)
        self.norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for module in [*self.down, *self.mid_block]:
            x = module(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """Codes (B, bits, h, w), -1 and 1 -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""

    def __init__(self, config: OpenMagvit2Config):
        super().__init__()
        widths, n = config.widths, config.res_blocks
        before = [*widths[1:], widths[-1]]  # channels that a level gets from the one before it
        self.conv_in = nn.Conv2d(config.bits, widths[-1], 3, padding=1)
        self.mid_block = blocks(widths[-1], widths[-1], n)
        self.up = nn.ModuleList()  # up[0] is the finest level and runs last
        for i, (width_in, width) in enumerate(zip(before, widths, strict=True)):
            self.up.append(Level(width_in, width, n, **({"upsample": Upsample(width)} if i else {})))
        self.adaptive = nn.ModuleList(AdaptiveGroupNorm(width, config.bits) for width in before)
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.conv_in(codes)
        for block in self.mid_block:
            x = block(x)
        for level, adaptive in zip(reversed(self.up), reversed(self.adaptive), strict=True):
            x = level(adaptive(x, codes))
        return self.conv_out(F.silu(self.norm_out(x)))


class OpenMagvit2(nn.Module):
    """Turns images (B, 3, H, W) in [-1, 1] into ids (B, H/f, W/f), and ids into images."""

    def __init__(self, config: OpenMagvit2Config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = SignQuantizer(config.bits)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encoder(images))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w), more than one -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decoder(self.quantize.lookup(ids))
