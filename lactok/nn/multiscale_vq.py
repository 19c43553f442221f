"""The multi-scale tokenizer of VAR, and HART's of the same kind, which also keeps what the codes leave over.

Source: FoundationVision/VAR `models/vqvae.py`, `quant.py` (Tian et al. 2024, arXiv 2404.02905), and mit-han-lab/hart
`hart/modules/networks/basic_hart.py` (Tang et al. 2024, arXiv 2410.10812). An image is a sum of maps of codes, from 1x1
to the full size: each is the nearest to what the smaller ones left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.quantize import VectorQuantizer
from lactok.nn.taming import Decoder, Encoder, JointAttnBlock

Size = tuple[int, int]  # height and width of a map of codes
NO_SHARE = 1e-6  # with a smaller `refinement` there are no convolutions


@dataclass(frozen=True)
class MultiScaleConfig(Config):
    """Shape of a `MultiScaleVQ`; the defaults are those of VAR's at 256 pixels.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest.
        res_blocks: residual blocks of a level of the encoder; the decoder's levels have one more.
        z_channels: channels of the features, which are also the width of a code.
        codebook_size: number of codes, the same for all scales.
        sides: of the maps of codes, from the smallest to the largest.
        kernel: side of the convolutions around the quantizer.
        refinement: share of a map of codes that goes through a convolution after it was enlarged.
        convolutions: number of these convolutions, which the scales share; 1 for the same for all, 0 for one each.
        by_direction: whether codes are compared with features as unit vectors; what is added up are the codes as they
            are.
    """

    channels: int = 160
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    res_blocks: int = 2
    z_channels: int = 32
    codebook_size: int = 4096
    sides: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    kernel: int = 3
    refinement: float = 0.5
    convolutions: int = 4
    by_direction: bool = False

    @property
    def downsampling(self) -> int:
        """Side of an image in pixels divided by the side of the largest map of codes."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Heights and widths of the maps of codes."""
        return tuple((side, side) for side in self.sides)

    @property
    def tokens(self) -> int:
        """Number of ids of an image."""
        return sum(side**2 for side in self.sides)


def nearest_tick(scale: int, scales: int, count: int) -> int:
    """Return which of `count` convolutions refines scale number `scale` of `scales`.

    >>> [nearest_tick(scale, 10, 4) for scale in range(10)]
    [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    """
    # quirk of the original: the ticks lie closer together for four convolutions than for other numbers
    edge = 1 / 3 / count if count == 4 else 1 / 2 / count
    # numpy's linspace as there: where a scale lies half way between two ticks, its rounding decides
    ticks = np.linspace(edge, 1 - edge, count)
    place = scale / (scales - 1) if scales > 1 else 0.0
    return int(np.abs(ticks - place).argmin())


class Refinements(nn.Module):
    """The convolutions that refine enlarged maps of codes, under the original's name of their number of them."""

    def __init__(self, config: MultiScaleConfig):
        super().__init__()
        z, count = config.z_channels, config.convolutions
        self.share = abs(config.refinement)
        made = [nn.Conv2d(z, z, 3, padding=1) for _ in range(count or len(config.sides)) if self.share > NO_SHARE]
        if count > 1:
            self.qresi_ls = nn.ModuleList(made)
        for i, convolution in enumerate(made if count <= 1 else ()):
            self.add_module("qresi" if count == 1 else str(i), convolution)

    def forward(self, codes: Tensor, scale: int, scales: int) -> Tensor:
        """Refine an enlarged map of codes (B, C, h, w) of scale number `scale` of `scales`."""
        convolutions = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        if not convolutions:
            return codes
        convolution = convolutions[nearest_tick(scale, scales, len(convolutions))]
        return codes * (1 - self.share) + convolution(codes) * self.share


class MultiScaleQuantizer(VectorQuantizer):
    """Replaces features by sums of maps of codes of several sizes."""

    ema_vocab_hit_SV: Tensor  # counts how often codes were used in training; in the published files, never read

    def __init__(self, config: MultiScaleConfig):
        super().__init__(config.codebook_size, config.z_channels, l2_norm=config.by_direction)
        self.quant_resi = Refinements(config)
        self.register_buffer("ema_vocab_hit_SV", torch.zeros(len(config.sides), config.codebook_size))

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, p, q) -> codes (B, C, p, q) float32, not divided by their length, however they are compared."""
        return self.embedding(ids).float().permute(0, 3, 1, 2)

    def enlarged(self, codes: Tensor, scale: int, sizes: Sequence[Size], refine: bool = True) -> Tensor:
        """Return what a map of codes (B, C, p, q) of scale number `scale` adds to the features, (B, C, h, w)."""
        if scale < len(sizes) - 1:
            codes = F.interpolate(codes, sizes[-1], mode="bicubic")
        return self.quant_resi(codes, scale, len(sizes)) if refine else codes

    def encode_scales(self, features: Tensor, sizes: Sequence[Size]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Quantize features.

        Args:
            features: (B, C, h, w), as large as the last size.
            sizes: of the maps of codes, from the smallest to the largest.

        Returns:
            The ids of each scale (B, p, q) int64; the sum of the maps after each scale (B, C, h, w); and what is left
            of the features before the last one (B, C, h, w).
        """
        rest, total = features.float(), torch.zeros_like(features, dtype=torch.float32)
        ids, totals = [], []
        left = rest
        for scale, size in enumerate(sizes):
            last = scale == len(sizes) - 1
            left = rest
            found = self.encode(rest if last else F.interpolate(rest, size, mode="area"))
            step = self.enlarged(self.lookup(found), scale, sizes)
            total, rest = total + step, rest - step
            ids.append(found)
            totals.append(total)
        return ids, totals, left

    def sums(self, maps: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """Return the sum of maps of codes (B, C, p, q) after each of the first scales, (B, C, h, w)."""
        totals: list[Tensor] = []
        for scale, codes in enumerate(maps):
            step = self.enlarged(codes, scale, sizes)
            totals.append(totals[-1] + step if totals else step)
        return totals

    def pooled(self, total: Tensor, size: Size) -> Tensor:
        """Shrink a sum of maps (B, C, h, w) to the next size, which a transformer then predicts from."""
        return F.interpolate(total, size, mode="area") if tuple(total.shape[2:]) != size else total


class MultiScaleVQ(nn.Module):
    """Turns images (B, 3, H, W) in [-1, 1] into ids of several scales, and ids into images."""

    def __init__(self, config: MultiScaleConfig):
        super().__init__()
        self.config = config
        z, n, levels = config.z_channels, config.res_blocks, len(config.channel_mult)
        widths = tuple(config.channels * m for m in config.channel_mult)
        joint = JointAttnBlock
        self.encoder = Encoder(config.channels, widths, (n,) * levels, z, joint, coarsest=joint)
        self.decoder = Decoder(widths, (n + 1,) * levels, z, joint, coarsest=joint)
        self.quantize = MultiScaleQuantizer(config)
        self.quant_conv = nn.Conv2d(z, z, config.kernel, padding=config.kernel // 2)
        self.post_quant_conv = nn.Conv2d(z, z, config.kernel, padding=config.kernel // 2)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features before quantization (B, C, H/f, W/f)."""
        return self.quant_conv(self.encoder(images))

    def decode_features(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decoder(self.post_quant_conv(features))

    def split(self, ids: Tensor, sizes: Sequence[Size] | None = None) -> list[Tensor]:
        """Ids of all scales in one row (B, L) -> those of each scale (B, p, q)."""
        sizes = sizes or self.config.sizes
        parts = ids.split([h * w for h, w in sizes], 1)
        return [part.unflatten(1, size) for part, size in zip(parts, sizes, strict=True)]

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids of all scales in one row (B, L) int64, the smallest scale first."""
        ids, _, _ = self.quantize.encode_scales(self.features(images), self.config.sizes)
        return torch.cat([found.flatten(1) for found in ids], 1)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids of all scales (B, L) -> images (B, 3, H, W), about [-1, 1], unclamped."""
        maps = [self.quantize.lookup(found) for found in self.split(ids)]
        return self.decode_features(self.quantize.sums(maps, self.config.sizes)[-1])
