"""TiTok's generators of an ImageNet class: transformers that predict masked ids, BERT's kind or a U-shaped ViT.

Source: bytedance/1d-tokenizer `modeling/maskgit.py` (`ImageBert`, `UViTBert`); Yu et al. 2024, arXiv 2406.07550.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.maskgit_sampling import MaskGITSampling, Uniform, sample
from lactok.nn.seed import MLP


@dataclass(frozen=True)
class MaskedTransformerConfig(Config):
    """Shape of a generator; the defaults are those of TiTok-L-32's.

    The vocabulary is [codes | mask | classes | no class].

    Attributes:
        kind: "bert", or "uvit" with skip connections between its two halves.
        width, layers, heads, hidden: of the transformer; `hidden` is the width inside a block's MLP.
        tokens: number of ids of an image.
        codebook_size: number of the tokenizer's codes.
        classes: number of classes.
    """

    kind: Literal["bert", "uvit"] = "bert"
    width: int = 768
    layers: int = 24
    heads: int = 16
    hidden: int = 3072
    tokens: int = 32
    codebook_size: int = 4096
    classes: int = 1000

    @property
    def mask_id(self) -> int:
        """The id that stands for one that is not chosen yet."""
        return self.codebook_size

    @property
    def vocabulary(self) -> int:
        """Number of embeddings."""
        return self.codebook_size + 1 + self.classes + 1


class Bert(nn.Module):
    """BERT without its pooler; the head is one linear layer on the last hidden state."""

    def __init__(self, config: MaskedTransformerConfig):
        from transformers import BertConfig, BertModel

        super().__init__()
        shape = BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.hidden,
            max_position_embeddings=config.tokens + 1,
            layer_norm_eps=1e-12,
        )
        self.model = BertModel(shape, add_pooling_layer=False)
        self.model.lm_head = nn.Linear(config.width, config.codebook_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, L) of the vocabulary -> logits of the codes (B, L, codebook size)."""
        return self.model.lm_head(self.model(ids).last_hidden_state)


class UViTAttention(nn.Module):
    """Multi-head self-attention, always in float32; (B, L, width) -> (B, L, width)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).float().unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).to(x.dtype))


class UViTBlock(nn.Module):
    """Pre-norm transformer block; one of the second half first joins the output of its partner in the first half."""

    def __init__(self, config: MaskedTransformerConfig, joins: bool = False):
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width)
        self.attn = UViTAttention(width, config.heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, config.hidden)
        self.skip_linear = nn.Linear(2 * width, width) if joins else None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, skip], -1))  # type: ignore[list-item]
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UViT(nn.Module):
    """A ViT with a skip connection from each block of its first half to one of its second half."""

    def __init__(self, config: MaskedTransformerConfig):
        super().__init__()
        half = config.layers // 2
        self.embeddings = nn.Embedding(config.vocabulary, config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens + 1, config.width))
        self.in_blocks = nn.ModuleList(UViTBlock(config) for _ in range(half))
        self.mid_block = UViTBlock(config)
        self.out_blocks = nn.ModuleList(UViTBlock(config, joins=True) for _ in range(half))
        self.norm = nn.LayerNorm(config.width)
        self.lm_head = nn.Linear(config.width, config.codebook_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, L) of the vocabulary -> logits of the codes (B, L, codebook size)."""
        x = self.embeddings(ids) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        x = self.mid_block(x)
        for block in self.out_blocks:
            x = block(x, skips.pop())
        return self.lm_head(self.norm(x))


def build(config: MaskedTransformerConfig) -> nn.Module:
    """Return the network, whose parameters have the official names; ids (B, 1 + N) -> logits (B, 1 + N, codes)."""
    return Bert(config) if config.kind == "bert" else UViT(config)


def logits(network: nn.Module, config: MaskedTransformerConfig, ids: Tensor, labels: Tensor, drop: bool) -> Tensor:
    """Predict the ids of images of a class.

    Args:
        network: see `build`.
        ids: (B, N), the mask's id where an id is not chosen yet.
        labels: (B,) classes.
        drop: whether the classes are replaced by the one that stands for no class.

    Returns:
        (B, N, codebook size).
    """
    first = torch.full_like(labels, config.classes) if drop else labels
    sequence = torch.cat([config.codebook_size + 1 + first[:, None], ids.to(labels.device)], 1)
    return network(sequence)[:, 1:]


def generate(
    network: nn.Module, config: MaskedTransformerConfig, labels: Tensor, uniform: Uniform, how: MaskGITSampling
) -> Tensor:
    """Return the ids of an image for each class, (B, N) int64.

    Args:
        network: see `build`.
        labels: (B,) classes.
        uniform: draws, see `lactok.nn.maskgit_sampling.sample`.
        how: steps, guidance and temperatures.
    """

    def predict(ids: Tensor, drop: bool) -> Tensor:
        return logits(network, config, ids, labels, drop).float()

    return sample(predict, uniform, (len(labels), config.tokens), config.mask_id, how)
