"""LaCTok's latent diffusion decoder: a frozen SDXL UNet and its trainable copy, joined by zero convolutions.

Source: Alpha-X-95/LaCToK `model.py` (after apple/ml-4m), diffusers' `UNet2DConditionModel`, `ControlNetModel`. Text is
absent: all text states are zero, so every cross-attention returns its output bias whatever the image (keys and values
have no bias). Here it *is* that bias: of SDXL's UNet 545.8 M parameters and of the copy's 269.4 M are never made.
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

from lactok.config import Config
from lactok.errors import UserError

if TYPE_CHECKING:
    from diffusers import ControlNetModel, UNet2DConditionModel

# stabilityai/stable-diffusion-xl-base-1.0; `attention_head_dim` holds numbers of heads, 64 channels each
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
CROSS_ATTENTION = ("attn2.to_q.", "attn2.to_k.", "attn2.to_v.", "attn2.to_out.0.weight", "norm2.")


@dataclass(frozen=True)
class UNetShape(Config):
    """An SDXL-like UNet in a recipe.

    Attributes:
        channels, transformers: widths and transformer layers from the finest level to the coarsest; 0 layers mean no
            attention there.
        layers: residual blocks a level.
        groups: of the group norms.
        text_channels, pooled_channels: of the text that is always zero; the second counts in the size embedding.
        size_channels: of each of the six size conditions.
    """

    channels: tuple[int, ...]
    transformers: tuple[int, ...]
    head_channels: int = 16
    layers: int = 1
    groups: int = 8
    latent_channels: int = 4
    text_channels: int = 8
    pooled_channels: int = 8
    size_channels: int = 16

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.transformers) or any(c % self.groups for c in self.channels):
            raise UserError(
                f"[unet] channels and transformers are of one length, channels multiples of groups = {self.groups}"
            )
        if any(c % self.head_channels for c in self.channels):
            raise UserError(f"[unet] channels must be multiples of head_channels = {self.head_channels}")

    def arguments(self) -> dict[str, object]:
        """Of diffusers' `UNet2DConditionModel`, size conditions included."""
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


# the same network as a recipe would state it
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
        unet: arguments of diffusers' `UNet2DConditionModel`; the copy has the same.
        code_dim: channels of the code map.
        embedding: widths of the condition embedding's convolutions.
    """

    unet: Mapping[str, Any] = field(default_factory=lambda: SDXL_UNET)
    code_dim: int = 8
    embedding: tuple[int, ...] = (8, 32, 96, 256)


def size_conditions(unet: Any, size: int, like: Tensor) -> dict[str, Tensor]:
    """SDXL's conditions for pictures of `size` pixels: (S, S, 0, 0, S, S), and zeros for the pooled text.

    The zeros do nothing by themselves but take part in the size embedding.
    """
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    ids = like.new_tensor([[size, size, 0, 0, size, size]]).expand(len(like), -1)
    return {"text_embeds": like.new_zeros(len(like), pooled), "time_ids": ids}


class Constant(nn.Module):
    """A cross-attention over zero states: its output bias at every position."""

    def __init__(self, width: int):
        super().__init__()
        self.to_out = nn.ModuleList([nn.Module()])
        self.to_out[0].bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.get_parameter("to_out.0.bias").to(x.dtype).expand_as(x)


def fold_cross_attention(network: nn.Module) -> None:
    """Replace every cross-attention of a UNet or its copy by the constant that it is."""
    from diffusers.models.attention import BasicTransformerBlock

    for block in network.modules():
        if isinstance(block, BasicTransformerBlock):
            constant = Constant(block.attn2.to_out[0].out_features)
            source = block.attn2.to_out[0].bias
            constant.to_out[0].bias = nn.Parameter(source.detach().clone(), requires_grad=source.requires_grad)
            block.attn2, block.norm2 = constant, nn.Identity()


def fold_upsampling(network: nn.Module) -> None:
    """Replace every doubling by nearest neighbour and its 3x3 convolution by one transposed convolution.

    A pixel of the enlarged map sees 2x2 pixels of the small one, so that 4/9 of the products do: the same numbers but
    for rounding. Only for maps that are exactly doubled, not for those whose side was odd before it was halved.
    """
    from diffusers.models.upsampling import Upsample2D

    for block in network.modules():
        upsamplers = getattr(block, "upsamplers", None)
        if isinstance(upsamplers, nn.ModuleList):
            for i, upsample in enumerate(upsamplers):
                if isinstance(upsample, Upsample2D):
                    upsamplers[i] = _doubling(upsample.conv)


def _doubling(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    weight, learns = conv.weight.detach(), conv.weight.requires_grad
    square = torch.ones(1, 1, 2, 2, dtype=weight.dtype, device=weight.device)  # what one pixel becomes
    kernel = F.conv2d(weight.flatten(0, 1).unsqueeze(1), square, padding=1).unflatten(0, weight.shape[:2])
    with torch.device("meta"):
        doubled = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
    flipped = kernel.squeeze(2).flip(-1, -2).transpose(0, 1)
    doubled.weight = nn.Parameter(flipped.contiguous(), requires_grad=learns)
    assert conv.bias is not None
    doubled.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=learns)
    return doubled


class ConditionEmbedding(nn.Module):
    """Code map (B, code_dim, h, w) -> the copy's first feature map (B, C, h, w); no change of resolution."""

    def __init__(self, code_dim: int, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.conv_in = nn.Conv2d(code_dim, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for a, b in pairwise(widths):
            self.blocks += [nn.Conv2d(a, a, 3, padding=1), nn.Conv2d(a, b, 3, padding=1)]
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, code_map: Tensor) -> Tensor:
        x = F.silu(self.conv_in(code_map))
        for conv in self.blocks:
            x = F.silu(conv(x))
        return self.conv_out(x)


# time and size of the call of a `LatentDecoder` that is running, where they are those of the whole batch
_running: ContextVar[tuple[int, int] | None] = ContextVar("running", default=None)


@contextmanager
def _call_of(time_and_size: tuple[int, int] | None) -> Iterator[None]:
    """Inside, every `Kept` knows the call; afterwards none does, also when the call fails."""
    token = _running.set(time_and_size)
    try:
        yield
    finally:
        _running.reset(token)


class Kept(nn.Module):
    """An embedding of times or sizes that is computed once for each, in inference mode; for weights that stay.

    Outside a decoder's call, and where the images of a batch have different times, it is computed as ever.
    """

    def __init__(self, embedding: nn.Module):
        super().__init__()
        self.embedding = embedding
        self.kept: dict[object, Tensor] = {}

    def forward(self, sample: Tensor, *rest: Any) -> Tensor:
        call, kind = _running.get(), sample.device.type
        if call is None or not torch.is_inference_mode_enabled():
            return self.embedding(sample, *rest)
        key = (call, sample.device, torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind))
        if key not in self.kept:
            self.kept[key] = self.embedding(sample[:1], *rest)
        return self.kept[key].expand(len(sample), -1)


class LatentDecoder(nn.Module):
    """Predicts the noise in latents, given a code map.

    Attributes:
        unet: frozen; the accelerator's LoRA is merged into it.
        controlnet: the copy with the condition embedding and the zero convolutions: what LaCTok trains.
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

    def remember(self) -> None:
        """Keep the embeddings of every time and size from now on, in inference mode. For weights that stay."""
        for network in (self.unet, self.controlnet):
            for name in ("time_embedding", "add_embedding"):
                if not isinstance(embedding := network.get_submodule(name), Kept):
                    setattr(network, name, Kept(embedding))

    def cast(self, dtype: torch.dtype) -> None:
        """Keep the matrices and kernels in `dtype`, as autocast would cast them at every call: half the memory."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.to(dtype)

    def copy_unet(self) -> None:
        """Start the copy from the UNet, as before stage 1; its condition embedding and zero convolutions stay."""
        own = self.controlnet.state_dict()
        shared = {k: v for k, v in self.unet.state_dict().items() if k in own}
        self.controlnet.load_state_dict(own | shared)

    def residuals(
        self, x: Tensor, t: int | Tensor, code_map: Tensor, size: int, cond_scale: float = 1.0
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the copy adds to the UNet's skips and to its middle, each times `cond_scale`, biases included."""
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
        """Noise in x.

        Args:
            x: noised latents (B, 4, h, w).
            t: one timestep or (B,) of them.
            code_map: codes at the latents' resolution (B, code_dim, h, w).
            size: side of the picture in pixels, 8 * h in training.
            cond_scale: strength of the condition.
        """
        times = torch.as_tensor(t, device=x.device).expand(len(x))
        with _call_of((t, size) if isinstance(t, int) else None):
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
