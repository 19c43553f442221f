"""A plain decoder of a VQ tokenizer's ids: the control of LaCTok's latent consistency decoder.

Encoder and codebook are LlamaGen's, as LaCTok's are. The decoder is LlamaGen's too, with more levels, so that it
enlarges the ids to the size of LaCTok's images in one pass: no diffusion, no noise, no pretrained network.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lactok.config import Config, Count, Counts
from lactok.nn.quantize import VectorQuantizer
from lactok.nn.vqgan import Decoder, Encoder, VQConfig

FROZEN = ("encoder", "quant_conv", "quantize")  # the parts that are the VQ tokenizer's


@dataclass(frozen=True)
class PlainDecoderShape(Config):
    """Shape of the decoder.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest; an
            id has 2^(levels - 1) pixels along a side.
        res_blocks: residual blocks of a level, less one.
        z_channels: channels that the codes are brought to.
    """

    channels: Count
    channel_mult: Counts
    res_blocks: Count = 1
    z_channels: Count = 64

    def config(self) -> VQConfig:
        """Return the shape as that of a `VQModel`, whose decoder is taken; this checks the widths."""
        return VQConfig(self.channels, self.channel_mult, self.res_blocks, self.z_channels)


class PlainDecoder(nn.Module):
    """Encoder and codebook of a VQ tokenizer, and a decoder of its own.

    Args:
        encoder: shape of the VQ tokenizer, whose encoder and codebook are used.
        decoder: shape of the decoder.
    """

    def __init__(self, encoder: VQConfig, decoder: PlainDecoderShape):
        super().__init__()
        self.encoder = Encoder(encoder)
        self.quant_conv = nn.Conv2d(encoder.z_channels, encoder.codebook_dim, 1)
        self.quantize = VectorQuantizer(encoder.codebook_size, encoder.codebook_dim, encoder.l2_norm)
        self.post_quant_conv = nn.Conv2d(encoder.codebook_dim, decoder.z_channels, 1)
        self.decoder = Decoder(decoder.config())

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, s, s) in [-1, 1] -> ids (B, s/f, s/f) int64, f the encoder's downsampling."""
        return self.quantize.encode(self.quant_conv(self.encoder(images)))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*g, w*g), about [-1, 1], unclamped; g is 2^(levels of the decoder - 1)."""
        return self.decoder(self.post_quant_conv(self.quantize.lookup(ids)))
