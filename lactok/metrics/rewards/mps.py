"""MPS, the Multi-dimensional Preference Score (Zhang et al. 2024; Kwai-Kolors/MPS), its overall score.

Words of the caption that say nothing about a list of qualities are masked; the picture's tokens then read the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from lactok import weights
from lactok.metrics.rewards import Reward, RewardSpec, preprocess, register_reward
from lactok.nn import clip
from lactok.nn.loading import filled, without_positions
from lactok.specs import Asset, Hub

CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
WEIGHTS = Asset(
    "mps-overall",
    license="none stated (Kwai-Kolors/MPS)",
    sources=(Hub("RE-N-Y/mpsv1", "model.safetensors"),),
    convert="lactok.metrics.rewards.mps:convert",
    size=4_200_000_000,
    note="the authors' own MPS_overall_checkpoint.pth is a pickled program and is not read; this is a copy of its "
    "tensors",
)


class SwiGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)
        return F.silu(gate) * x


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    """Many query heads (B, H, N, D) on one head of keys and values (B, M, D); `keep` (B, 1, M) bool masks keys."""
    k, v = (t[:, None].expand(-1, q.shape[1], -1, -1) for t in (k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=None if keep is None else keep[:, None])
    return out.transpose(1, 2).flatten(2)


def heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


class Rotary(nn.Module):
    """Rotary positions; the frequencies come with the weights."""

    inv_freq: Tensor

    def __init__(self, dim_head: int):
        super().__init__()
        self.register_buffer("inv_freq", torch.zeros(dim_head // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(..., N, D), rotated by position."""
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * self.inv_freq.float()
        angle = torch.cat([angle, angle], -1)
        first, second = x.chunk(2, -1)
        return x * angle.cos().to(x.dtype) + torch.cat([-second, first], -1) * angle.sin().to(x.dtype)


class CrossAttention(nn.Module):
    """Image tokens on text tokens, and a feed-forward beside it, both on the same norm."""

    def __init__(self, dim: int, dim_head: int, count: int, ff_mult: int):
        super().__init__()
        self.count = count
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, count * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim_head, bias=False)
        self.to_out = nn.Linear(count * dim_head, dim, bias=False)
        inner = ff_mult * dim
        self.ff = nn.Sequential(nn.Linear(dim, 2 * inner, bias=False), SwiGLU(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: Tensor, context: Tensor, keep: Tensor) -> Tensor:
        x = self.norm(x)
        k, v = self.to_kv(context).chunk(2, dim=-1)
        return self.to_out(attend(heads(self.to_q(x), self.count), k, v, keep)) + self.ff(x)


class ParallelBlock(nn.Module):
    """Image tokens among themselves, rotary, not causal, with a feed-forward from the same projection."""

    def __init__(self, dim: int, dim_head: int, count: int, ff_mult: int):
        super().__init__()
        self.count, inner = count, ff_mult * dim
        self.parts = (count * dim_head, dim_head, dim_head, 2 * inner)
        self.norm = nn.LayerNorm(dim)
        self.rotary_emb = Rotary(dim_head)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.parts), bias=False)
        self.attn_out = nn.Linear(count * dim_head, dim, bias=False)
        self.ff_out = nn.Sequential(SwiGLU(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v, ff = self.fused_attn_ff_proj(self.norm(x)).split(self.parts, dim=-1)
        q, k = self.rotary_emb(heads(q, self.count)), self.rotary_emb(k)
        return self.attn_out(attend(q, k, v)) + self.ff_out(ff)


class Residual(nn.Module):
    def __init__(self, fn: nn.Module):
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        return x + self.fn(x, *others)


class CrossModel(nn.Module):
    """Under the official names. Defaults: the published model."""

    def __init__(self, dim: int = 1024, layers: int = 4, dim_head: int = 64, count: int = 16, ff_mult: int = 4):
        super().__init__()
        size = (dim, dim_head, count, ff_mult)
        self.layers = nn.ModuleList(
            nn.ModuleList([Residual(CrossAttention(*size)), Residual(ParallelBlock(*size))]) for _ in range(layers)
        )

    def forward(self, image: Tensor, text: Tensor, keep: Tensor) -> Tensor:
        """Image tokens (B, N, P), text tokens (B, L, P), which of them are read (B, 1, L) bool -> (B, N, P)."""
        for layer in self.layers:
            across, within = layer.children()
            image = within(across(image, text, keep))
        return image


class MPSNetwork(nn.Module):
    def __init__(self, shape: clip.Shape = clip.VIT_H_14, cross: CrossModel | None = None):
        super().__init__()
        self.model = shape.build()
        self.cross_model = cross or CrossModel()

    def similarity(self, text: Tensor, condition: Tensor) -> Tensor:
        """Of each text token (B, L, P) to its nearest condition token (1, M, P), over the caption's largest: (B, 1, L).

        The authors divide by the largest of the batch and score captions one by one; here it is each caption's own.
        """
        nearest = (text @ condition.transpose(1, 2)).amax(-1)
        return (nearest / nearest.amax(-1, keepdim=True))[:, None]

    def score(self, text: Tensor, end: Tensor, image: Tensor, similarity: Tensor, threshold: float) -> Tensor:
        """Logit scale times the cosine of the caption (its end token, (B, P)) and the picture that read it: (B,)."""
        picture = self.cross_model(image, text, similarity > threshold)[:, 0]
        return self.model.logit_scale.exp() * (clip.unit(end) * clip.unit(picture)).sum(-1)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official names, or those of the copy, which has `mps.` before them."""
    return {k.removeprefix("mps."): v for k, v in without_positions(tensors).items()}


@register_reward(
    RewardSpec(
        "mps",
        WEIGHTS.license,
        "overall, mask above 0.3 as the authors' evaluation on HPDv2, a caption at a time",
        (WEIGHTS, clip.TOKENIZER),
        published="mps",
    )
)
class MPS(Reward):
    """About 10 to 13."""

    threshold = 0.3

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(MPSNetwork, weights.load(WEIGHTS), self.spec.name).to(device)
        self.texts = clip.texts()

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.transformers_clip(i) for i in images], self.device)
        ids, _ = self.texts([CONDITION, *captions], self.device)
        tokens = clip.text_tokens(self.model.model, ids)
        condition, text, ids = tokens[:1], tokens[1:], ids[1:]
        image = clip.image_tokens(self.model.model, pixels)
        similarity = self.model.similarity(text, condition)
        return self.model.score(text, clip.at_end(text, ids), image, similarity, self.threshold)


@register_reward(
    RewardSpec(
        "mps-0.01",
        WEIGHTS.license,
        "overall, mask above 0.01 as the network's own forward(), a caption at a time",
        (WEIGHTS, clip.TOKENIZER),
        published="mps",
    ),
    listed=False,
)
class MPSForward(MPS):
    threshold = 0.01
