"""LaCTok's latent diffusion decoder: a frozen SDXL UNet and a trained ControlNet, joined by zero convolutions.

Source: Alpha-X-95/LaCToK `model.py` (after apple/ml-4m), diffusers' `UNet2DConditionModel`, `ControlNetModel`. There is
no text: all text states are zero. As keys and values have no bias, every cross-attention then returns the bias of its
output layer, whatever the image. Here it is replaced by that bias, which saves 545.8 million parameters of SDXL's UNet
and 269.4 million of the ControlNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts, Whole
from lactok.errors import UserError

if TYPE_CHECKING:
    from diffusers import ControlNetModel, UNet2DConditionModel

# Arguments of diffusers' `UNet2DConditionModel` for the UNet of stabilityai/stable-diffusion-xl-base-1.0. Despite its
# name, `attention_head_dim` holds the numbers of heads, which have 64 channels each.
SDXL_UNET: Mapping[str, Any] = {
    "sample_size": 128,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
# parts of a transformer block's names that belong to weights of cross-attention without effect where the text is zero
CROSS_ATTENTION = ("attn2.to_q.", "attn2.to_k.", "attn2.to_v.", "attn2.to_out.0.weight", "norm2.")


@dataclass(frozen=True)
class UNetShape(Config):
    """Shape of a UNet of SDXL's kind, as recipes and weight files state it.

    Attributes:
        channels: widths from the finest level to the coarsest.
        transformers: numbers of transformer layers in each of these levels; 0 for a level without attention.
        head_channels: width of an attention head.
        layers: residual blocks of a level.
        groups: groups of the group norms.
        latent_channels: channels of the latents.
        text_channels: width of the text states, which are always zero.
        pooled_channels: width of the pooled text, which is always zero but is an input of the size embedding.
        size_channels: width of the embedding of each of the six size conditions.

    Raises:
        UserError: numbers that do not fit together.
    """

    channels: Counts
    transformers: tuple[Whole, ...]
    head_channels: Count = 16
    layers: Count = 1
    groups: Count = 8
    latent_channels: Count = 4
    text_channels: Count = 8
    pooled_channels: Count = 8
    size_channels: Count = 16

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.transformers) or any(c % self.groups for c in self.channels):
            raise UserError(
                f"[unet] channels and transformers are of one length, channels multiples of groups = {self.groups}"
            )
        if any(c % self.head_channels for c in self.channels):
            raise UserError(f"[unet] channels must be multiples of head_channels = {self.head_channels}")

    def arguments(self) -> dict[str, object]:
        """Return the arguments of diffusers' `UNet2DConditionModel` for a UNet of this shape."""
        down = ["CrossAttnDownBlock2D" if n else "DownBlock2D" for n in self.transformers]
        up = ["CrossAttnUpBlock2D" if n else "UpBlock2D" for n in reversed(self.transformers)]
        return {
            "down_block_types": down,
            "up_block_types": up,
            "block_out_channels": list(self.channels),
            "transformer_layers_per_block": [max(1, n) for n in self.transformers],
            "layers_per_block": self.layers,
            "attention_head_dim": [c // self.head_channels for c in self.channels],
            "norm_num_groups": self.groups,
            "use_linear_projection": True,
            "cross_attention_dim": self.text_channels,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": self.size_channels,
            "projection_class_embeddings_input_dim": 6 * self.size_channels + self.pooled_channels,
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
        }


# the same network as a recipe states it
SDXL_UNET_SHAPE = UNetShape(
    channels=(320, 640, 1280),
    transformers=(0, 2, 10),
    head_channels=64,
    layers=2,
    groups=32,
    text_channels=2048,
    pooled_channels=1280,
    size_channels=256,
)


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a `LatentDecoder`.

    Attributes:
        unet: arguments of diffusers' `UNet2DConditionModel`; the ControlNet has the same shape.
        code_dim: channels of the code map.
        embedding: widths of the convolutions that embed the code map.
    """

    unet: Mapping[str, Any] = field(default_factory=lambda: SDXL_UNET)
    code_dim: int = 8
    embedding: tuple[int, ...] = (8, 32, 96, 256)


def size_conditions(unet: Any, size: int, like: Tensor) -> dict[str, Tensor]:
    """Return SDXL's size conditions as the argument `added_cond_kwargs` of diffusers' UNet and ControlNet.

    Args:
        unet: the UNet, whose configuration says the width of the pooled text, which is zero.
        size: side S of the images in pixels.
        like: latents (B, C, h, w) whose batch size, dtype and device the conditions have.

    Returns:
        `time_ids` (B, 6): original size (S, S), crop offset (0, 0), target size (S, S); and `text_embeds`, zeros.
    """
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    ids = like.new_tensor([[size, size, 0, 0, size, size]]).expand(len(like), -1)
    return {"text_embeds": like.new_zeros(len(like), pooled), "time_ids": ids}


class ConstantAttention(nn.Module):
    """Replaces a cross-attention to zero states: tokens (B, L, width) -> the bias of its output layer for each."""

    def __init__(self, width: int):
        super().__init__()
        self.to_out = nn.ModuleList([nn.Module()])
        self.to_out[0].bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.get_parameter("to_out.0.bias").to(x.dtype).expand_as(x)


def fold_cross_attention(network: nn.Module) -> None:
    """Replace every cross-attention of a UNet or ControlNet by the constant that it returns where the text is zero."""
    from diffusers.models.attention import BasicTransformerBlock

    for block in network.modules():
        if isinstance(block, BasicTransformerBlock):
            constant = ConstantAttention(block.attn2.to_out[0].out_features)
            source = block.attn2.to_out[0].bias
            constant.to_out[0].bias = nn.Parameter(source.detach().clone(), requires_grad=source.requires_grad)
            block.attn2 = constant
            block.norm2 = nn.Identity()


def fold_upsampling(network: nn.Module) -> None:
    """Replace every upsampling by nearest neighbour and the 3x3 convolution after it by one transposed convolution.

    The 3x3 pixels that the convolution reads are copies of 2x2 pixels, so that 4 products are enough instead of 9. The
    result is the same but for rounding. The network must double the resolution exactly, which it does not where a side
    was odd before it was halved.
    """
    from diffusers.models.upsampling import Upsample2D

    for block in network.modules():
        upsamplers = getattr(block, "upsamplers", None)
        if isinstance(upsamplers, nn.ModuleList):
            for i, upsample in enumerate(upsamplers):
                if isinstance(upsample, Upsample2D):
                    upsamplers[i] = _folded_upsampling(upsample.conv)


def _folded_upsampling(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """Return the transposed convolution that equals nearest-neighbour upsampling by 2 and then a 3x3 convolution."""
    weight = conv.weight.detach()
    learns = conv.weight.requires_grad
    square = torch.ones(1, 1, 2, 2, dtype=weight.dtype, device=weight.device)  # upsampling makes 2x2 copies of a pixel
    kernel = F.conv2d(weight.flatten(0, 1).unsqueeze(1), square, padding=1).unflatten(0, weight.shape[:2])
    with torch.device("meta"):
        doubled = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
    flipped = kernel.squeeze(2).flip(-1, -2).transpose(0, 1)
    doubled.weight = nn.Parameter(flipped.contiguous(), requires_grad=learns)
    assert conv.bias is not None
    doubled.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=learns)
    return doubled


class ConditionEmbedding(nn.Module):
    """Embeds the code map (B, code_dim, h, w) for the ControlNet, which adds the result (B, C, h, w) to its input.

    The last convolution starts at zero.

    Args:
        code_dim: channels of the code map.
        widths: of the convolutions.
        channels: C, the width of the UNet's finest level.
    """

    def __init__(self, code_dim: int, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.conv_in = nn.Conv2d(code_dim, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, next_width in pairwise(widths):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, next_width, 3, padding=1))
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, code_map: Tensor) -> Tensor:
        x = F.silu(self.conv_in(code_map))
        for conv in self.blocks:
            x = F.silu(conv(x))
        return self.conv_out(x)


# Timestep and image size of the running call of a `LatentDecoder`; None outside a call, and where the images of the
# batch have different timesteps.
_current_call: ContextVar[tuple[int, int] | None] = ContextVar("current_call", default=None)


@contextmanager
def _in_call(time_and_size: tuple[int, int] | None) -> Iterator[None]:
    """Let every `CachedEmbedding` know the timestep and size of the decoder's call inside this context."""
    token = _current_call.set(time_and_size)
    try:
        yield
    finally:
        _current_call.reset(token)


class CachedEmbedding(nn.Module):
    """An embedding of times or sizes (B, C) that is computed once for each timestep and size.

    It is cached in inference mode, inside a call of the decoder whose images have the same timestep; else it is
    computed as without a cache. The weights of the embedding must not change any more.
    """

    def __init__(self, embedding: nn.Module):
        super().__init__()
        self.embedding = embedding
        self.cache: dict[object, Tensor] = {}

    def forward(self, sample: Tensor, *rest: Any) -> Tensor:
        call = _current_call.get()
        if call is None or not torch.is_inference_mode_enabled():
            return self.embedding(sample, *rest)
        kind = sample.device.type
        autocast_dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = (call, sample.device, autocast_dtype)
        if key not in self.cache:
            self.cache[key] = self.embedding(sample[:1], *rest)
        return self.cache[key].expand(len(sample), -1)


class LatentDecoder(nn.Module):
    """Predicts the noise in latents, given a code map.

    Attributes:
        unet: SDXL's UNet, frozen, with the LoRA of the sampler merged into it.
        controlnet: a trained copy of the UNet's down and middle blocks, which reads the code map too; zero convolutions
            add its feature maps to the UNet's.
    """

    def __init__(self, config: DecoderConfig):
        from diffusers import ControlNetModel, UNet2DConditionModel

        super().__init__()
        self.config = config
        self.unet: UNet2DConditionModel = UNet2DConditionModel(**config.unet)
        self.controlnet: ControlNetModel = ControlNetModel.from_unet(
            self.unet,
            conditioning_embedding_out_channels=(8,),
            conditioning_channels=config.code_dim,
            load_weights_from_unet=False,
        )
        width = config.unet["block_out_channels"][0]
        self.controlnet.controlnet_cond_embedding = ConditionEmbedding(config.code_dim, config.embedding, width)
        for network in (self.unet, self.controlnet):
            fold_cross_attention(network)

    def cache_embeddings(self) -> None:
        """Cache the embeddings of times and sizes from now on, see `CachedEmbedding`."""
        for network in (self.unet, self.controlnet):
            for name in ("time_embedding", "add_embedding"):
                embedding = network.get_submodule(name)
                if not isinstance(embedding, CachedEmbedding):
                    setattr(network, name, CachedEmbedding(embedding))

    def cast(self, dtype: torch.dtype) -> None:
        """Convert the weights of linear layers and convolutions to `dtype`, to which autocast would cast them anyway.

        This saves memory and does not change results under autocast.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.to(dtype)

    def copy_unet(self) -> None:
        """Copy the UNet's weights to the ControlNet, which starts from them in the first stage of training.

        The ControlNet's other weights, of its condition embedding and its zero convolutions, stay as they are.
        """
        own = self.controlnet.state_dict()
        shared = {k: v for k, v in self.unet.state_dict().items() if k in own}
        self.controlnet.load_state_dict(own | shared)

    def residuals(
        self, x: Tensor, t: int | Tensor, code_map: Tensor, size: int, cond_scale: float = 1.0
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Compute what the ControlNet adds to the UNet.

        The arguments are those of `forward`.

        Returns:
            The feature maps that are added to the UNet's skip connections, from the finest, and the one that is added
            to the output of its middle block. Each is multiplied by `cond_scale`.
        """
        times = torch.as_tensor(t, device=x.device).expand(len(x))
        down, middle = self.controlnet(
            x,
            times,
            None,
            code_map,
            conditioning_scale=cond_scale,
            added_cond_kwargs=size_conditions(self.unet, size, x),
            return_dict=False,
        )
        return tuple(down), middle

    def forward(self, x: Tensor, t: int | Tensor, code_map: Tensor, size: int, cond_scale: float = 1.0) -> Tensor:
        """Predict the noise in latents.

        Args:
            x: noised latents (B, 4, h, w).
            t: one timestep, or (B,) of them.
            code_map: codes at the latents' resolution (B, code_dim, h, w).
            size: side of the images in pixels, 8 * h in training.
            cond_scale: strength of the condition.

        Returns:
            The predicted noise (B, 4, h, w).
        """
        times = torch.as_tensor(t, device=x.device).expand(len(x))
        with _in_call((t, size) if isinstance(t, int) else None):
            down, middle = self.residuals(x, times, code_map, size, cond_scale)
            return self.unet(
                x,
                times,
                None,
                added_cond_kwargs=size_conditions(self.unet, size, x),
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]
