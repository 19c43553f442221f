"""VQGAN: a convolutional autoencoder with a codebook, with LlamaGen's parameter names.

Source: FoundationVision/LlamaGen `tokenizer/tokenizer_image/vq_model.py`, which is after taming-transformers. Its
quirks are kept: downsampling pads on two sides only, group norms have an eps of 1e-6, and the decoder has one more
residual block in each level than the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.quantize import VectorQuantizer
from lactok.nn.vqgan_config import VQConfig
from lactok.weights.wrappers import stored


def norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    """Return a group norm with the original's eps and, by default, its number of groups."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResBlock(nn.Module):
    """Group norm, swish and a 3x3 convolution, twice, and a residual connection; (B, C, H, W) -> (B, C', H, W).

    Where the number of channels changes, the residual connection is a 1x1 convolution. `bias` is that of convolutions,
    `groups` the number of groups of the norms.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, groups: int = 32):
        super().__init__()
        self.norm1 = norm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.norm2 = norm(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.changes_channels = in_channels != out_channels

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if self.changes_channels else x) + h


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions of a feature map (B, C, H, W), with a residual connection."""

    def __init__(self, channels: int, groups: int = 32):
        super().__init__()
        self.norm = norm(channels, groups)
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
    """Halves the resolution by a 3x3 convolution; (B, C, H, W) -> (B, C, H/2, W/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # quirk: padded on the right and below only


class Upsample(nn.Module):
    """Doubles the resolution by nearest neighbour and a 3x3 convolution; (B, C, H, W) -> (B, C, 2H, 2W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, then a change of resolution.

    Args:
        widths: channels before the first block and after each block.
        attention: whether each block is followed by attention.
        resample: changes the resolution, or None.
        resample_name: the name under which `resample` is registered, as in LlamaGen's files.
        groups: of the norms.
    """

    def __init__(
        self, widths: Sequence[int], attention: bool, resample: nn.Module | None, resample_name: str, groups: int
    ):
        super().__init__()
        self.res = nn.ModuleList(ResBlock(a, b, groups=groups) for a, b in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(b, groups) for b in widths[1:] if attention)
        if resample is not None:
            self.add_module(resample_name, resample)
        self.resample_name = resample_name if resample is not None else None

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return x if self.resample_name is None else self.get_submodule(self.resample_name)(x)


def middle(channels: int, groups: int) -> nn.ModuleList:
    """Make the blocks at the coarsest resolution, between the levels and the codebook."""
    before = ResBlock(channels, channels, groups=groups)
    return nn.ModuleList([before, AttnBlock(channels, groups), ResBlock(channels, channels, groups=groups)])


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> feature maps (B, z_channels, H/f, W/f), where f is `config.downsampling`."""

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
            self.conv_blocks.append(Level(blocks, config.attends(i), down, "downsample", config.groups))
            previous = width
        self.mid = middle(previous, config.groups)
        self.norm_out = norm(previous, config.groups)
        self.conv_out = nn.Conv2d(previous, config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for block in [*self.conv_blocks, *self.mid]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Feature maps (B, z_channels, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.channels * m for m in reversed(config.channel_mult)]
        last = len(widths) - 1
        previous = widths[0]
        self.conv_in = nn.Conv2d(config.z_channels, previous, 3, padding=1)
        self.mid = middle(previous, config.groups)
        self.conv_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            up = Upsample(width) if i != last else None
            blocks = [previous] + [width] * (config.res_blocks + 1)
            self.conv_blocks.append(Level(blocks, config.attends(last - i), up, "upsample", config.groups))
            previous = width
        self.norm_out = norm(previous, config.groups)
        self.conv_out = nn.Conv2d(previous, 3, 3, padding=1)

    @property
    def last_layer(self) -> Tensor:
        """The weight on whose gradients training balances the adversarial loss against the reconstruction loss."""
        return self.conv_out.weight

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        for block in [*self.mid, *self.conv_blocks]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class VQModel(nn.Module):
    """Encoder, codebook and decoder."""

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
        """Images (B, 3, H, W) in [-1, 1] -> features before quantization (B, codebook_dim, H/f, W/f)."""
        return self.quant_conv(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> ids (B, H/f, W/f) int64."""
        return self.quantize.encode(self.encode_features(x))

    def decode_features(self, z: Tensor) -> Tensor:
        """Codes (B, codebook_dim, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decoder(self.post_quant_conv(z))

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> images (B, 3, h*f, w*f), about [-1, 1], unclamped."""
        return self.decode_features(self.quantize.lookup(ids))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode and decode for training, where gradients pass the codebook as if it was not there.

        Args:
            x: images (B, 3, H, W) in [-1, 1].

        Returns:
            Reconstructions of the images' shape, features before quantization (B, codebook_dim, H/f, W/f), and ids
            (B, H/f, W/f).
        """
        z = self.encode_features(x)
        ids = self.quantize.encode(z.detach())
        return self.decode_features(self.quantize.straight_through(z, ids)), z, ids


def from_taming(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's tensors of a checkpoint of taming-transformers under the names of `VQModel`.

    Left out are losses, optimizer states, averages that forks store beside the weights (the official loader takes the
    weights themselves), and the colours in which segmentations are logged.
    """
    inside = stored(tensors, ("state_dict",))
    decoder_levels = [int(name.split(".")[2]) for name in inside if re.match(r"decoder\.up\.\d+\.", name)]
    coarsest = max(decoder_levels, default=0)
    out = {}
    for name, tensor in inside.items():
        if not name.startswith(("loss.", "model_ema.")) and name != "colorize":
            out[_name_from_taming(name, coarsest)] = tensor
    return out


def _name_from_taming(name: str, coarsest: int) -> str:
    """Return the name in `VQModel` of a tensor of taming-transformers; `coarsest` is its decoder's coarsest level."""
    for i, middle_name in enumerate(("block_1", "attn_1", "block_2")):
        name = name.replace(f".mid.{middle_name}.", f".mid.{i}.")
    name = re.sub(r"^encoder\.down\.", "encoder.conv_blocks.", name)
    level = re.match(r"decoder\.up\.(\d+)", name)
    if level:  # taming counts from the finest level, LlamaGen in the order in which the levels run
        name = f"decoder.conv_blocks.{coarsest - int(level[1])}{name.removeprefix(level[0])}"
    return re.sub(r"(conv_blocks\.\d+)\.block\.", r"\1.res.", name)
