"""Shape of a VQGAN's network, without torch, so that specs can be made of it before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass

from lactok.config import Config, Count, Counts, Index
from lactok.errors import UserError


@dataclass(frozen=True)
class VQConfig(Config):
    """Shape of a `VQModel`; the defaults are those of LlamaGen's VQ-16.

    Attributes:
        channels, channel_mult: the width of a level is `channels` times its entry, from the finest to the coarsest.
        res_blocks: residual blocks of a level of the encoder; the decoder's levels have one more.
        z_channels: channels of the encoder's output.
        codebook_size, codebook_dim: number and width of the codes.
        l2_norm: whether codes are compared as unit vectors.
        usage_buffer: whether there is a buffer `quantize.codebook_used`, as in LlamaGen's files.
        attention: levels, as indices of `channel_mult`, whose residual blocks are each followed by attention, in the
            encoder and in the decoder; LlamaGen has it in the coarsest level alone. The two residual blocks between
            the levels and the codebook always have an attention between them.
        groups: of the group norms. Where a level has as many channels as groups, each channel is normalised over the
            image, and an image's mean colour hardly passes: narrow networks need fewer groups.
    """

    channels: Count = 128
    channel_mult: Counts = (1, 1, 2, 2, 4)
    res_blocks: Count = 2
    z_channels: Count = 256
    codebook_size: Count = 16384
    codebook_dim: Count = 8
    l2_norm: bool = True
    usage_buffer: bool = True
    attention: tuple[Index, ...] = (-1,)
    groups: Count = 32

    def __post_init__(self) -> None:
        widths = [self.channels * m for m in (1, *self.channel_mult)]
        if not self.channel_mult or any(w <= 0 or w % self.groups for w in widths):
            raise UserError(
                f"channels * channel_mult must be multiples of {self.groups} (GroupNorm's groups), not {widths}"
            )
        levels = len(self.channel_mult)
        if any(not -levels <= level < levels for level in self.attention):
            raise UserError(f"attention names levels of channel_mult, from 0 to {levels - 1}, not {self.attention}")

    def attends(self, level: int) -> bool:
        """Return whether a level, 0 for the finest, has attention."""
        return level in self.attention or level - len(self.channel_mult) in self.attention

    @property
    def downsampling(self) -> int:
        """Side of an image in pixels divided by the side of its map of ids."""
        return 2 ** (len(self.channel_mult) - 1)
