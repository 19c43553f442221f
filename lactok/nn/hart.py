"""HART: a transformer that predicts the ids of one scale after the other, and a small diffusion network for the rest.

Source: mit-han-lab/hart `hart/modules/models/transformer/hart_transformer_t2i.py`; Tang et al. 2024, arXiv 2410.10812.
Not read from a published checkpoint: depth, width and number of heads are those that fit its size. The original runs in
float16 with a fused kernel of the RMS norm; here it is plain float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.gpt import RMSNorm
from lactok.nn.hart_diffusion import DiffusionHead, sinusoids
from lactok.nn.multiscale_vq import MultiScaleVQ

EPS = 1e-6
ROTARY_BASE = 10000.0


@dataclass(frozen=True)
class HARTConfig(Config):
    """Shape of a `HART`; the defaults are those that fit HART-0.7B.

    Attributes:
        width, layers, heads, hidden: of the transformer; `hidden` is the width inside a block's SwiGLU.
        context_tokens, context_width: number and width of the prompt's features.
        sides: of the maps of codes, from the smallest to the largest.
        code_dim, codebook_size: of the tokenizer.
        diffusion_width, diffusion_layers, diffusion_steps: of the network for the rest.
    """

    width: int = 1536
    layers: int = 24
    heads: int = 24
    hidden: int = 4096
    context_tokens: int = 300
    context_width: int = 1536
    sides: tuple[int, ...] = (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64)
    code_dim: int = 32
    codebook_size: int = 4096
    diffusion_width: int = 1024
    diffusion_layers: int = 6
    diffusion_steps: int = 8


def context_angles(positions: Tensor, channels: int) -> Tensor:
    """Return the rotary angles of a prompt's positions (B, T) -> (B, T, channels)."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, channels, 2, device=positions.device).float() / channels)
    angles = positions[..., None].float() * frequencies
    return torch.cat([angles, angles], -1)


def image_angles(side: int, largest: int, offset: Tensor, channels: int) -> Tensor:
    """Return the rotary angles of a map's positions, (B, side * side, channels).

    Args:
        side: of the map.
        largest: side of the largest map, whose grid all maps share.
        offset: (B,), added to rows and columns.
        channels: of a head. Quirk of the original: its first half turns with the row and its second with the column,
            though a channel's partner is in the other half.
    """
    frequencies = ROTARY_BASE ** (-torch.arange(0, channels, 4, device=offset.device).float() / channels)
    places = torch.arange(side, device=offset.device).float() * (largest / side)
    places = places[None] + offset[:, None]  # (B, side)
    angles = places[..., None] * frequencies  # (B, side, channels / 4)
    rows = angles[:, :, None].expand(-1, -1, side, -1).flatten(1, 2)
    columns = angles[:, None].expand(-1, side, -1, -1).flatten(1, 2)
    return torch.cat([rows, rows, columns, columns], -1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn channels j and j + channels / 2 of queries or keys (B, heads, L, channels) by angles (B, L, channels)."""
    first, second = x.chunk(2, -1)
    angles = angles[:, None]
    return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


class Attention(nn.Module):
    """Multi-head attention to these and all earlier positions; (B, L, width) -> (B, L, width)."""

    zero_k_bias: Tensor  # keys have no bias, but the published file has one

    def __init__(self, config: HARTConfig):
        super().__init__()
        self.heads = config.heads
        self.scale = 0.25 / math.sqrt(config.width // config.heads)
        self.qkv_proj = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("zero_k_bias", torch.zeros(config.width))
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, angles: Tensor, cache: list[Tensor]) -> Tensor:
        """Attend; keys and values are added to `cache`, which is empty at first, else [keys, values]."""
        bias = torch.cat([self.q_bias, self.zero_k_bias, self.v_bias])
        q, k, v = F.linear(x, self.qkv_proj.weight, bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, angles), rotate(k, angles)
        if cache:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        cache[:] = [k, v]
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU; (B, L, width) -> (B, L, width)."""

    def __init__(self, config: HARTConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Pre-norm transformer block, whose one norm serves attention and feed-forward alike."""

    def __init__(self, config: HARTConfig):
        super().__init__()
        self.ln_wo_grad = RMSNorm(config.width, EPS)  # despite its name in the original it is trained
        self.attn = Attention(config)
        self.ffn = FeedForward(config)

    def forward(self, x: Tensor, angles: Tensor, cache: list[Tensor]) -> Tensor:
        x = x + self.attn(self.ln_wo_grad(x), angles, cache)
        return x + self.ffn(self.ln_wo_grad(x))


class ScaleEmbedding(nn.Module):
    """Number of a scale -> (width,)."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, number: int) -> Tensor:
        first = next(self.mlp.parameters())
        return self.mlp(sinusoids(torch.tensor([number], device=first.device), 256).to(first.dtype))[0]


class ModulatedNorm(nn.Module):
    """The norm before the logits, scaled and shifted by the pooled prompt (B, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.ln_wo_grad = RMSNorm(width, EPS)
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        scale, shift = self.ada_lin(pooled)[:, None].chunk(2, -1)
        return self.ln_wo_grad(x) * (1 + scale) + shift


class HART(nn.Module):
    """The transformer, its diffusion network and its embeddings, with the official names of the parameters."""

    lvl_1L: Tensor  # numbers of the scales of all positions; in the published file, not needed here

    def __init__(self, config: HARTConfig):
        super().__init__()
        self.config = config
        width = config.width
        self.context_norm = RMSNorm(config.context_width, EPS)
        self.context_embed = nn.Linear(config.context_width, width)
        self.word_embed = nn.Linear(config.code_dim, width)
        self.lvl_embed = ScaleEmbedding(width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head_nm = ModulatedNorm(width)
        self.head = nn.Linear(width, config.codebook_size)
        self.decoder_norm = RMSNorm(width, EPS)
        self.diffloss = DiffusionHead(config.code_dim, width, config.diffusion_width, config.diffusion_layers)
        numbers = [torch.zeros(config.context_tokens)]
        numbers += [torch.full((side**2,), float(k)) for k, side in enumerate(config.sides) if k]
        self.register_buffer("lvl_1L", torch.cat(numbers).long()[None])

    def embed_context(self, features: Tensor) -> Tensor:
        """Features of prompts (B, T, context width) -> (B, T, width)."""
        return self.context_embed(self.context_norm(features))

    def run(self, x: Tensor, number: int, angles: Tensor, caches: list[list[Tensor]]) -> Tensor:
        """Run the blocks.

        Args:
            x: inputs (B, L, width) of one scale.
            number: of the scale; the prompt counts as scale 0.
            angles: rotary angles (B, L, channels of a head).
            caches: keys and values of the earlier positions for each block.

        Returns:
            (B, L, width).
        """
        x = x + self.lvl_embed(number)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, angles, cache)
        return x


@dataclass(frozen=True)
class HARTSampling:
    """How ids are chosen.

    Attributes:
        guidance: scale t of classifier-free guidance at the last scale, (1 + t) conditional - t unconditional; it grows
            with the scale from 0.
        smooth: whether maps of codes are mixtures of codes, as in the authors' demo ("more_smooth"), which makes
            pictures smoother.
        top_k: number of the likeliest codes that may be drawn, at the first scales and from `late` on.
        late: number of the first scale with the second of these.
    """

    guidance: float = 4.5
    smooth: bool = True
    top_k: tuple[int, int] = (600, 300)
    late: int = 7


@dataclass(frozen=True)
class HARTStep:
    """What was computed at a scale, for comparisons.

    Attributes:
        hidden: (2 B, L, width); at scale 0 of the whole prompt.
        raw: logits before guidance (2 B, L, codes), with prompts and without.
        logits: after guidance (B, L, codes).
        ids: (B, L).
        codes: what enters the sum of maps, (B, L, code_dim).
        given: the sum of maps that the scale was predicted from (B, L, code_dim), None at scale 0.
    """

    hidden: Tensor
    raw: Tensor
    logits: Tensor
    ids: Tensor
    codes: Tensor
    given: Tensor | None


# (name of the draws, shape of one image's) -> (B, *shape): "id k" and "smooth k" are exponential, "rest ..." normal
Draws = Callable[[str, tuple[int, ...]], Tensor]


def generate(
    model: HART,
    tokenizer: MultiScaleVQ,
    context: Tensor,
    positions: Tensor,
    draws: Draws,
    how: HARTSampling,
    seen: Callable[[HARTStep], None] = lambda step: None,
    seen_rest: Callable[[Tensor, Tensor], None] = lambda condition, rest: None,
) -> Tensor:
    """Return the tokenizer's features of an image for each prompt, (B, code_dim, h, w).

    Args:
        model: the network.
        tokenizer: whose codes the ids are.
        context: features of the prompts (B, T, context width). Quirk of the original: nothing masks their padding.
        positions: (B, T) of the prompts' features, -1 for padding in front of them.
        draws: see `Draws`.
        how: guidance and filters.
        seen: is called after each scale.
        seen_rest: is called with the diffusion network's condition (2 B L, width) and its result.
    """
    config, sizes = model.config, [(side, side) for side in model.config.sides]
    batch, last = len(context), len(sizes) - 1
    channels = config.width // config.heads
    embedded = model.embed_context(torch.cat([context, torch.zeros_like(context)]))
    pooled = embedded.amax(1)
    positions = torch.cat([positions, torch.zeros_like(positions)])
    caches: list[list[Tensor]] = [[] for _ in model.blocks]
    x, angles, given, total = embedded, context_angles(positions, channels), None, None
    for k, size in enumerate(sizes):
        hidden = model.run(x, k, angles, caches)
        tail = hidden[:, -1:] if k == 0 else hidden
        ratio = min(k, last - 1) / last  # quirk: the last scale has the ratio of the one before
        raw = model.head(model.head_nm(tail, pooled)).float()
        logits = (1 + how.guidance * ratio) * raw[:batch] - how.guidance * ratio * raw[batch:]
        kept = _top(logits, how.top_k[k >= how.late])
        shape = tuple(kept.shape[1:])
        ids = (kept.softmax(-1) / draws(f"id {k}", shape).to(kept)).argmax(-1)
        codes = tokenizer.quantize.embedding(ids)
        if how.smooth:
            noise = -draws(f"smooth {k}", shape).to(kept).log()
            temperature = max(0.27 * (1 - 0.95 * ratio), 0.005)
            mixed = (kept * (1 + ratio) + noise) / temperature
            codes = mixed.softmax(-1) @ tokenizer.quantize.embedding.weight.float()
        seen(HARTStep(hidden, raw, logits, ids, codes, given))
        maps = codes.transpose(1, 2).unflatten(2, size)
        if k == last:
            break
        step = tokenizer.quantize.enlarged(maps, k, sizes)
        total = step if total is None else total + step
        given = tokenizer.quantize.pooled(total, sizes[k + 1]).flatten(2).transpose(1, 2)
        x = model.word_embed(given).repeat(2, 1, 1)
        angles = image_angles(sizes[k + 1][0], sizes[-1][0], positions[:, -1].float(), channels)
    condition = model.decoder_norm(hidden + model.word_embed(tokenizer.quantize.embedding(ids)).repeat(2, 1, 1))
    condition = condition.flatten(0, 1)
    noises = _rest_noise(draws, config, ids.shape[1])
    rest = model.diffloss.sample(condition, noises, how.guidance * ratio, config.diffusion_steps)
    seen_rest(condition, rest)
    rest = rest[: len(rest) // 2].unflatten(0, (batch, -1)).transpose(1, 2).unflatten(2, sizes[-1])
    return (maps if total is None else total + maps) + rest  # without the refinement of the other scales


def _top(logits: Tensor, count: int) -> Tensor:
    """Return logits with all but the `count` largest (and their ties) at minus infinity."""
    least = logits.topk(min(count, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def _rest_noise(draws: Draws, config: HARTConfig, tokens: int) -> list[Tensor]:
    """Return the diffusion network's noise, at the start and for each step, (rows, code_dim)."""
    shape = (tokens, config.code_dim)
    start = draws("rest start", shape).flatten(0, 1)
    steps = [draws(f"rest {i}", shape).flatten(0, 1) for i in range(config.diffusion_steps)]
    return [start, *steps]
