"""Show-o's image tokenizer: an autoencoder of MAGVIT-v2's kind for single images, with a look-up-free quantizer.

Source: showlab/Show-o `models/modeling_magvitv2.py`; Yu et al. 2023, arXiv 2310.05737. Unlike LlamaGen's VQGAN, its
encoder and decoder have their own widths and numbers of blocks at each level, the decoder has no additional block, and
attention is in the middle alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.taming import Decoder, Encoder


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


class MagvitEncoder(Encoder):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, bits, H/f, W/f)."""

    def __init__(self, config: MagvitConfig):
        widths = tuple(config.channels * m for m in config.encoder_mult)
        super().__init__(config.channels, widths, config.encoder_blocks, config.bits)
        self.quant_conv = nn.Conv2d(config.bits, config.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.quant_conv(super().forward(x))


class MagvitDecoder(Decoder):
    """Codes (B, bits, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""

    def __init__(self, config: MagvitConfig):
        widths = tuple(config.channels * m for m in config.decoder_mult)
        super().__init__(widths, config.decoder_blocks, config.bits)
        self.post_quant_conv = nn.Conv2d(config.bits, config.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.post_quant_conv(x))


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
        self.encoder = MagvitEncoder(config)
        self.decoder = MagvitDecoder(config)
        self.quantize = LookupFreeQuantizer(config.bits)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encoder(images))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decoder(self.quantize.lookup(ids))
