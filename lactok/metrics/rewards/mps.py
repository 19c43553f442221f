"""The overall score of MPS, the Multi-dimensional Preference Score (Zhang et al. 2024; Kwai-Kolors/MPS).

The condition is a list of qualities. Caption tokens that are not similar to any token of the condition are masked, and
the image tokens attend to the others.
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
from lactok.nn.loading import Texts, filled, without_positions
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
    """The SwiGLU activation: (..., 2 D) -> (..., D), the first half times the SiLU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)
        return F.silu(gate) * x


def multi_query_attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    """Attend with H query heads to one shared head of keys and values.

    Args:
        q: queries (B, H, N, D).
        k, v: keys and values (B, M, D).
        keep: True for the keys that are attended to, (B, 1, M) bool; None for all.

    Returns:
        The heads' outputs side by side, (B, N, H * D).
    """
    k, v = (t[:, None].expand(-1, q.shape[1], -1, -1) for t in (k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=None if keep is None else keep[:, None])
    return out.transpose(1, 2).flatten(2)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split the channels of tokens into heads: (B, N, heads * D) -> (B, heads, N, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class RotaryEmbedding(nn.Module):
    """Rotary positional embedding; the frequencies are part of the weights."""

    inv_freq: Tensor

    def __init__(self, dim_head: int):
        super().__init__()
        self.register_buffer("inv_freq", torch.zeros(dim_head // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Rotate queries or keys (..., N, D) by their positions."""
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * self.inv_freq.float()
        angle = torch.cat([angle, angle], -1)
        first, second = x.chunk(2, -1)
        return x * angle.cos().to(x.dtype) + torch.cat([-second, first], -1) * angle.sin().to(x.dtype)


class CrossAttention(nn.Module):
    """Cross-attention of image tokens to text tokens, in parallel with a feed-forward layer, both on the same norm."""

    def __init__(self, dim: int, dim_head: int, heads: int, ff_mult: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)
        inner = ff_mult * dim
        self.ff = nn.Sequential(nn.Linear(dim, 2 * inner, bias=False), SwiGLU(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: Tensor, context: Tensor, keep: Tensor) -> Tensor:
        """Return the update (B, N, dim) of image tokens x (B, N, dim).

        Args:
            x: image tokens.
            context: text tokens (B, M, dim).
            keep: True for the text tokens that are attended to, (B, 1, M) bool.
        """
        x = self.norm(x)
        k, v = self.to_kv(context).chunk(2, dim=-1)
        q = split_heads(self.to_q(x), self.heads)
        return self.to_out(multi_query_attention(q, k, v, keep)) + self.ff(x)


class ParallelBlock(nn.Module):
    """Self-attention of image tokens in parallel with a feed-forward layer, both from one fused projection.

    The attention is not causal and has rotary positional embeddings.
    """

    def __init__(self, dim: int, dim_head: int, heads: int, ff_mult: int):
        super().__init__()
        self.heads = heads
        inner = ff_mult * dim
        self.widths = (heads * dim_head, dim_head, dim_head, 2 * inner)  # of queries, keys, values and feed-forward
        self.norm = nn.LayerNorm(dim)
        self.rotary_emb = RotaryEmbedding(dim_head)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.widths), bias=False)
        self.attn_out = nn.Linear(heads * dim_head, dim, bias=False)
        self.ff_out = nn.Sequential(SwiGLU(), nn.Linear(inner, dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the update (B, N, dim) of image tokens (B, N, dim)."""
        q, k, v, ff = self.fused_attn_ff_proj(self.norm(x)).split(self.widths, dim=-1)
        q, k = self.rotary_emb(split_heads(q, self.heads)), self.rotary_emb(k)
        return self.attn_out(multi_query_attention(q, k, v)) + self.ff_out(ff)


class Residual(nn.Module):
    """Adds a module's output to its first input."""

    def __init__(self, fn: nn.Module):
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        return x + self.fn(x, *others)


class CrossModel(nn.Module):
    """Layers of cross-attention to the text and self-attention, with the parameter names of the published weights.

    The defaults are the published model.
    """

    def __init__(self, dim: int = 1024, layers: int = 4, dim_head: int = 64, heads: int = 16, ff_mult: int = 4):
        super().__init__()
        shape = (dim, dim_head, heads, ff_mult)
        self.layers = nn.ModuleList(
            nn.ModuleList([Residual(CrossAttention(*shape)), Residual(ParallelBlock(*shape))]) for _ in range(layers)
        )

    def forward(self, image: Tensor, text: Tensor, keep: Tensor) -> Tensor:
        """Return the image tokens (B, N, P) after all layers.

        Args:
            image: image tokens (B, N, P).
            text: text tokens (B, L, P).
            keep: True for the text tokens that are attended to, (B, 1, L) bool.
        """
        for layer in self.layers:
            cross_attention, self_attention = layer.children()
            image = self_attention(cross_attention(image, text, keep))
        return image


class MPSNetwork(nn.Module):
    """CLIP, and the cross-attention layers between its image tokens and its text tokens."""

    def __init__(self, shape: clip.Shape = clip.VIT_H_14, cross: CrossModel | None = None):
        super().__init__()
        self.model = shape.build()
        self.cross_model = cross or CrossModel()

    def similarity(self, text: Tensor, condition: Tensor) -> Tensor:
        """Return the similarity of each text token to the nearest condition token, relative to the caption's largest.

        The authors divide by the largest of the batch, but score one caption at a time; dividing by each caption's own
        largest gives the same for any batch.

        Args:
            text: text tokens (B, L, P).
            condition: tokens of the condition, (1, M, P).

        Returns:
            The similarities (B, 1, L), at most 1.
        """
        nearest = (text @ condition.transpose(1, 2)).amax(-1)
        return (nearest / nearest.amax(-1, keepdim=True))[:, None]

    def score(self, text: Tensor, end: Tensor, image: Tensor, similarity: Tensor, threshold: float) -> Tensor:
        """Return the scores (B,): the logit scale times the cosine similarity of caption and image.

        Args:
            text: text tokens (B, L, P).
            end: the text token at each caption's end, which stands for the caption, (B, P).
            image: image tokens (B, N, P); the first one stands for the image.
            similarity: what `similarity` returns, (B, 1, L).
            threshold: text tokens whose similarity is not above it are masked.
        """
        image_feature = self.cross_model(image, text, similarity > threshold)[:, 0]
        return self.model.logit_scale.exp() * (clip.unit(end) * clip.unit(image_feature)).sum(-1)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the authors' names; the copy that is read has `mps.` before them."""
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
    """MPS as the authors evaluate it: scores of about 10 to 13."""

    threshold = 0.3

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(MPSNetwork, weights.load(WEIGHTS), self.spec.name).to(device)
        self.texts = self.tokenizer()

    @classmethod
    def tokenizer(cls) -> Texts:
        return clip.texts()

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
    """As `MPS`, with the lower threshold that the authors' network has in its own `forward`."""

    threshold = 0.01
