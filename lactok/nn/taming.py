"""Parts of autoencoders under the names that taming-transformers gave them: levels of residual blocks, and a middle.

`lactok.nn.vqgan` has the same blocks in LlamaGen's order and names.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.vqgan import AttnBlock, Downsample, ResBlock, Upsample, norm

Attention = Callable[[int], nn.Module]  # makes the attention of a number of channels


class JointAttnBlock(nn.Module):
    """The attention of `AttnBlock`, whose queries, keys and values are made by one convolution, as in VAR."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)  # each (B, hw, C)
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(out.transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    """Two residual blocks with attention between them; (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, width: int, attention: Attention = AttnBlock):
        super().__init__()
        self.block_1 = ResBlock(width, width)
        self.attn_1 = attention(width)
        self.block_2 = ResBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Residual blocks of one resolution, then a change of resolution where there is one.

    Args:
        width_in, width: channels before and after the first block.
        blocks: number of blocks.
        resample: "downsample", "upsample", or "" for none.
        attention: makes what follows each block, or None.
    """

    def __init__(self, width_in: int, width: int, blocks: int, resample: str, attention: Attention | None = None):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(a, b) for a, b in pairwise([width_in] + [width] * blocks))
        self.attn = nn.ModuleList(attention(width) for _ in range(blocks) if attention is not None)
        self.resample = resample
        if resample:
            self.add_module(resample, Downsample(width) if resample == "downsample" else Upsample(width))

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return self.get_submodule(self.resample)(x) if self.resample else x


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, z_channels, H/f, W/f).

    Args:
        channels: width before the first level.
        widths: of the levels, from the finest to the coarsest.
        blocks: residual blocks of each level.
        z_channels: of the output.
        attention: of the middle.
        coarsest: of the coarsest level's blocks, or None.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        z_channels: int,
        attention: Attention = AttnBlock,
        coarsest: Attention | None = None,
    ):
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.ModuleList()
        for i, ((width_in, width), n) in enumerate(zip(pairwise([channels, *widths]), blocks, strict=True)):
            last = i == len(widths) - 1
            level = Level(width_in, width, n, "" if last else "downsample", coarsest if last else None)
            self.down.append(level)
        self.mid = Middle(widths[-1], attention)
        self.norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Codes (B, z_channels, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped; arguments as of `Encoder`."""

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        z_channels: int,
        attention: Attention = AttnBlock,
        coarsest: Attention | None = None,
    ):
        super().__init__()
        self.conv_in = nn.Conv2d(z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], attention)
        self.up = nn.ModuleList()  # up[0] is the finest level and runs last
        for i, (width_in, width, n) in enumerate(zip([*widths[1:], widths[-1]], widths, blocks, strict=True)):
            last = i == len(widths) - 1
            self.up.append(Level(width_in, width, n, "upsample" if i else "", coarsest if last else None))
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))
