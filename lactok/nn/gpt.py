"""LlamaGen's text-conditional transformer, which predicts an image's ids one after the other; LaCTokGen is the same.

Source: FoundationVision/LlamaGen `autoregressive/models/gpt.py` and `generate.py` (Sun et al. 2024, arXiv 2406.06525),
and Alpha-X-95/LaCToK `gpt.py`. The sequence is [features of the caption | ids of the image, row by row]; the first id
is read at the last position of the caption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config


@dataclass(frozen=True)
class GPTConfig(Config):
    """Shape of a `GPT`; the defaults are those of LaCTokGen, which is LlamaGen's GPT-XL at 256 ids.

    Attributes:
        width: of the transformer; each of the `heads` has width / heads channels, a multiple of four.
        layers, heads: number of blocks, and of heads in each.
        hidden: width inside a block's SwiGLU.
        codebook_size: number of the tokenizer's codes.
        caption_width: width of the text encoder's features.
        text_tokens: number of features of a caption.
        image_tokens: number of ids of an image.
    """

    width: int = 1280
    layers: int = 36
    heads: int = 20
    hidden: int = 3584
    codebook_size: int = 16384
    caption_width: int = 2048
    text_tokens: int = 120
    image_tokens: int = 256

    @property
    def length(self) -> int:
        """Number of positions: the caption's and the image's."""
        return self.text_tokens + self.image_tokens


ROTARY_BASE = 10000.0


def rotary_table(config: GPTConfig) -> Tensor:
    """Return cosine and sine of the rotary positions, (length, width / heads / 2, 2) float32.

    The first half of a head's channels turns with the row of an id, the second with its column. Quirk of the original:
    the rows of the caption's positions are zeros instead of ones and zeros, so that queries and keys of the caption
    are zero vectors and all positions of the caption weigh alike.

    A number of ids that is no square, as of tokenizers without a grid, takes the first positions of the smallest square
    that holds them, row by row.
    """
    side = math.isqrt(config.image_tokens - 1) + 1 if config.image_tokens else 0
    half = config.width // config.heads // 2
    # on the CPU, also where the network is built without memory: no file has the table
    frequencies = 1.0 / ROTARY_BASE ** (torch.arange(0, half, 2, device="cpu")[: half // 2].float() / half)
    angles = torch.outer(torch.arange(side, device="cpu").float(), frequencies)  # (side, half / 2)
    rows = angles[:, None].expand(-1, side, -1)
    columns = angles[None].expand(side, -1, -1)
    grid = torch.cat([rows, columns], -1).flatten(0, 1)[: config.image_tokens]  # (image_tokens, half)
    table = torch.stack([grid.cos(), grid.sin()], -1)
    return torch.cat([table.new_zeros(config.text_tokens, half, 2), table])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn neighbouring pairs of channels by the angles of their positions.

    Args:
        x: queries or keys (B, L, heads, channels).
        table: cosine and sine of these positions (L, channels / 2, 2).
    """
    pairs = x.float().unflatten(-1, (-1, 2))  # (B, L, heads, channels / 2, 2)
    cosine, sine = table[:, None].unbind(-1)  # (L, 1, channels / 2)
    first, second = pairs.unbind(-1)
    turned = torch.stack([first * cosine - second * sine, second * cosine + first * sine], -1)
    return turned.flatten(-2).to(x.dtype)


class RMSNorm(nn.Module):
    """Divide by the root mean square of the channels, computed in float32, and multiply by a weight."""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions; (B, L, width) -> (B, L, width)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.wo = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of (B, L, width), each (B, heads, L, channels), at their rotary positions."""
        q, k, v = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # each (B, L, heads, channels)
        return rotate(q, table).transpose(1, 2), rotate(k, table).transpose(1, 2), v.transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Return the attention's output (B, L, width) of queries, keys and values; `mask` as of `forward`."""
        return self.wo(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, table: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            x: (B, L, width).
            table: the rotary positions, see `rotary_table`.
            mask: (B or 1, 1, L, L), True where a position (row) sees another one (column).
        """
        return self.attend(*self.project(x, table), mask)


class FeedForward(nn.Module):
    """SwiGLU; (B, L, width) -> (B, L, width)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.w1 = nn.Linear(config.width, config.hidden, bias=False)
        self.w3 = nn.Linear(config.width, config.hidden, bias=False)
        self.w2 = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.width)
        self.ffn_norm = RMSNorm(config.width)

    def forward(self, x: Tensor, table: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), table, mask)
        return x + self.feed_forward(self.ffn_norm(x))


class CaptionMLP(nn.Module):
    """Features of a caption (B, T, caption width) -> (B, T, width)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.caption_width, config.width, bias=False)
        self.fc2 = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class CaptionEmbedding(nn.Module):
    """The caption's MLP, and the features that stand for no caption."""

    uncond_embedding: Tensor  # (T, caption width), a buffer: it is not trained

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.cap_proj = CaptionMLP(config)
        noise = torch.randn(config.text_tokens, config.caption_width) / config.caption_width**0.5
        self.register_buffer("uncond_embedding", noise)


def left_padded(features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of captions to the front and set its features to zero, as the original's scripts do.

    Args:
        features: (B, T, C), the valid ones first.
        mask: (B, T), 1 for valid features and 0 for padding.

    Returns:
        Features and mask of the same shapes, the valid ones last and in their order.
    """
    rolled = [torch.cat([row[n:], row[:n]]) for row, n in zip(features, mask.sum(1).tolist(), strict=True)]
    flipped = mask.flip(1)
    return torch.stack(rolled) * flipped[..., None], flipped


def visible(mask: Tensor | None, config: GPTConfig, batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Return which position sees which, (B, length, length) bool.

    A position sees itself and the earlier ones, but not the caption's padding.

    Args:
        mask: (B, T), 0 for padding at the front of the caption; None if there is none.
    """
    causal = torch.ones(config.length, config.length, dtype=torch.bool, device=device).tril()
    allowed = causal.expand(batch, -1, -1).clone()
    if mask is not None:
        allowed[:, :, : config.text_tokens] &= mask.to(device).bool()[:, None]
        allowed.diagonal(dim1=1, dim2=2).fill_(True)
    return allowed


class GPT(nn.Module):
    """Predicts each id of an image from the caption's features and the ids before it."""

    table: Tensor

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.cls_embedding = CaptionEmbedding(config)
        self.tok_embeddings = nn.Embedding(config.codebook_size, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.codebook_size, bias=False)
        self.register_buffer("table", rotary_table(config), persistent=False)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in their order."""
        return [layer for layer in self.layers if isinstance(layer, Block)]

    def compute_in(self, dtype: torch.dtype) -> None:
        """Bring the weights to a dtype, in which the network computes then; the rotary table stays float32."""
        for part in self.children():
            part.to(dtype)

    def embed_caption(self, features: Tensor) -> Tensor:
        """Features (B, T, caption width) -> the first T inputs of the transformer (B, T, width)."""
        return self.cls_embedding.cap_proj(features)

    def hidden(self, x: Tensor, allowed: Tensor) -> Tensor:
        """Run the blocks.

        Args:
            x: inputs (B, L, width) of the first L positions.
            allowed: which of these positions sees which, (B or 1, L, L).

        Returns:
            (B, L, width) after the last norm.
        """
        table = self.table[: x.shape[1]]
        for layer in self.blocks:
            x = layer(x, table, allowed[:, None])
        return self.norm(x)

    def forward(self, features: Tensor, ids: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Predict at every position, given all ids, as in training.

        Args:
            features: of the captions (B, T, caption width), padding at the front.
            ids: the first N ids of the images (B, N).
            allowed: see `visible`, (B, length, length); by default everything but the future is visible.

        Returns:
            Logits (B, T + N, codebook size); those at position T - 1 + i are of id i.
        """
        x = torch.cat([self.embed_caption(features), self.tok_embeddings(ids)], 1)
        if allowed is None:
            allowed = visible(None, self.config, 1, x.device)
        return self.output(self.hidden(x, allowed[:, : x.shape[1], : x.shape[1]]))

    def loss(self, features: Tensor, ids: Tensor, allowed: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the mean cross entropy of all ids, over the images that are valid.

        Args:
            features: of the captions (B, T, caption width), padding at the front.
            ids: of the images (B, N).
            allowed: which position sees which, (B, length, length).
            valid: (B,), 0 for images that are left out; by default all count.
        """
        logits = self(features, ids[:, :-1], allowed)[:, self.config.text_tokens - 1 :]
        each = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").unflatten(0, ids.shape)
        weight = torch.ones_like(each) if valid is None else valid[:, None].to(each).expand_as(each)
        return (each * weight).sum() / weight.sum().clamp(min=1)
