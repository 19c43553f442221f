"""SEED-2's image tokenizer: EVA ViT, causal Q-Former and codebook, and layers from ids to a CLIP image embedding.

Source: AILab-CVC/SEED `models/seed_qformer/`; Ge et al. 2023, arXiv 2310.01218. The Q-Former is a BERT whose input are
learned queries; its word embeddings and its feed-forward layers for text are not built, since the tokenizer does not
use them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Positive, Side, Whole
from lactok.nn.quantize import VectorQuantizer


@dataclass(frozen=True)
class SeedConfig(Config):
    """Shape of a `SeedQuantizer`; the defaults are those of seed-tokenizer-2.

    Attributes:
        image_size, patch: sides of an image and of a patch in pixels.
        vit: (width, blocks, heads) of the EVA ViT; 39 of EVA-g's 40 blocks are used.
        vit_ratio: width inside the ViT's MLPs, as a multiple of the ViT's width.
        inception: width of the tokens of an `InceptionEncoder`, which then replaces the ViT; 0 for the ViT.
        hidden, layers, heads: width, number of layers and number of attention heads of the Q-Former; the decoding
            blocks have the same width.
        intermediate: width inside the Q-Former's MLPs.
        cross_every: of the Q-Former's layers every `cross_every`-th attends to the image, beginning with the first.
        queries: number of queries, which is the number of ids.
        codebook_size, code_dim: number and width of the codes.
        features: width of the CLIP image embedding.
        depth: number of decoding blocks.
        positions: length of a buffer that the published file contains but nothing reads.
    """

    image_size: Side = 224
    patch: Side = 14
    vit: tuple[Count, Count, Count] = (1408, 39, 16)
    vit_ratio: Positive = 4.3637
    inception: Whole = 0
    hidden: Count = 768
    layers: Count = 12
    intermediate: Count = 3072
    heads: Count = 12
    cross_every: Count = 2
    queries: Count = 32
    codebook_size: Count = 8192
    code_dim: Count = 32
    features: Count = 1024
    depth: Count = 4
    positions: Count = 512

    @property
    def visual(self) -> int:
        """Width of the visual encoder's tokens."""
        return self.inception or self.vit[0]


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_normalise(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> the same with CLIP's mean subtracted and divided by CLIP's std."""
    mean = images.new_tensor(CLIP_MEAN)[:, None, None]
    std = images.new_tensor(CLIP_STD)[:, None, None]
    return (images - mean) / std


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool = False) -> Tensor:
    """Multi-head attention of projected queries (B, L, D), keys and values (B, M, D) -> (B, L, D)."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention of tokens (B, L, width); with `eva`, queries and values have a bias but keys have none."""

    def __init__(self, width: int, heads: int, eva: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=not eva)
        if eva:
            self.q_bias = nn.Parameter(torch.zeros(width))
            self.v_bias = nn.Parameter(torch.zeros(width))
        self.eva = eva
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias]) if self.eva else self.qkv.bias
        q, k, v = F.linear(x, self.qkv.weight, bias).chunk(3, -1)
        return self.proj(attend(q, k, v, self.heads))


class MLP(nn.Module):
    """Two linear layers with GELU between them; (B, L, width) -> (B, L, width)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block (B, L, width) -> (B, L, width), of the ViT (with `eva`) and of the decoder.

    Args:
        width, heads: width of the tokens and number of attention heads.
        ratio: width inside the MLP, as a multiple of `width`.
        eva: see `Attention`.
    """

    def __init__(self, width: int, heads: int, ratio: float, eva: bool = False):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, eva)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, int(width * ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Images (B, 3, S, S) -> patch embeddings (B, patches, width)."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class EvaViT(nn.Module):
    """CLIP-normalised images (B, 3, S, S) -> tokens (B, 1 + patches, width), the class token first.

    Quirk: there is no norm after the last block.
    """

    def __init__(self, config: SeedConfig):
        super().__init__()
        width, blocks, heads = config.vit
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (config.image_size // config.patch) ** 2, width))
        self.patch_embed = PatchEmbed(width, config.patch)
        self.blocks = nn.ModuleList(Block(width, heads, config.vit_ratio, eva=True) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


def visual_encoder(config: SeedConfig) -> nn.Module:
    """Make the network that turns CLIP-normalised images (B, 3, S, S) into tokens (B, M, config.visual)."""
    if not config.inception:
        return EvaViT(config)
    from lactok.nn.inception_encoder import InceptionEncoder  # here, because the libraries behind it take seconds

    return InceptionEncoder(config.inception, CLIP_MEAN, CLIP_STD)


class _Projections(nn.Module):
    """The linear layers of an attention for queries of one width, and for keys and values of another."""

    def __init__(self, width: int, context: int):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context, width)
        self.value = nn.Linear(context, width)


class _Output(nn.Module):
    """The end of BERT's attention or MLP: a linear layer, the residual connection, and the norm after it."""

    def __init__(self, inner_width: int, width: int):
        super().__init__()
        self.dense = nn.Linear(inner_width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class BertAttention(nn.Module):
    """Post-norm attention of tokens x (B, L, width) to a context (B, M, context), which may be x itself."""

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.add_module("self", _Projections(width, context))
        self.output = _Output(width, width)

    def forward(self, x: Tensor, context: Tensor, causal: bool = False) -> Tensor:
        query, key, value = self.get_submodule("self").children()
        return self.output(attend(query(x), key(context), value(context), self.heads, causal), x)


class _Intermediate(nn.Module):
    """The first linear layer of BERT's MLP."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.dense = nn.Linear(width, hidden)


class QFormerLayer(nn.Module):
    """Self-attention of the queries (B, L, hidden), with `crosses` cross-attention to the image, and an MLP."""

    def __init__(self, config: SeedConfig, crosses: bool):
        super().__init__()
        width = config.hidden
        self.attention = BertAttention(width, width, config.heads)
        if crosses:
            self.crossattention = BertAttention(width, config.visual, config.heads)
        self.crosses = crosses
        self.intermediate_query = _Intermediate(width, config.intermediate)
        self.output_query = _Output(config.intermediate, width)

    def forward(self, x: Tensor, image: Tensor, causal: bool) -> Tensor:
        x = self.attention(x, x, causal)
        if self.crosses:
            x = self.crossattention(x, image)
        return self.output_query(F.gelu(self.intermediate_query.dense(x)), x)


class QFormer(nn.Module):
    """Queries (B, L, hidden) and an image's tokens (B, M, visual) -> what the queries read from them (B, L, hidden).

    A query attends to the queries before it, so that the ids are in a causal order.
    """

    def __init__(self, config: SeedConfig):
        super().__init__()
        embeddings, encoder = nn.Module(), nn.Module()
        embeddings.register_buffer("position_ids", torch.arange(config.positions)[None])
        embeddings.add_module("LayerNorm", nn.LayerNorm(config.hidden, eps=1e-12))
        layers = (QFormerLayer(config, i % config.cross_every == 0) for i in range(config.layers))
        encoder.add_module("layer", nn.ModuleList(layers))
        self.bert = nn.ModuleDict({"embeddings": embeddings, "encoder": encoder})

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        x = self.get_submodule("bert.embeddings.LayerNorm")(queries)
        causal = x.shape[1] == 32  # quirk of the original: for another number of queries there is no mask
        for layer in self.get_submodule("bert.encoder.layer").children():
            x = layer(x, image, causal)
        return x


class SeedQuantizer(nn.Module):
    """Turns images into ids, and ids into CLIP image embeddings, from which a diffusion decoder generates images."""

    def __init__(self, config: SeedConfig):
        super().__init__()
        self.config = config
        width = config.hidden
        self.query_tokens = nn.Parameter(torch.zeros(1, config.queries, width))
        self.visual_encoder = visual_encoder(config)
        self.ln_vision = nn.LayerNorm(config.visual)
        self.Qformer = QFormer(config)
        self.encode_task_layer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.code_dim))
        self.quantize = VectorQuantizer(config.codebook_size, config.code_dim, l2_norm=False)
        self.decode_task_layer = nn.Sequential(
            nn.Linear(config.code_dim, config.code_dim), nn.Tanh(), nn.Linear(config.code_dim, width)
        )
        # `pos_embed` and `blocks` reconstruct the Q-Former's output, a loss of training; the decoder of images uses
        # `pos_embed_image` and `blocks_image`
        self.pos_embed = nn.Parameter(torch.zeros(1, config.queries, width))
        self.blocks = nn.ModuleList(Block(width, 12, 4) for _ in range(config.depth))
        self.pos_embed_image = nn.Parameter(torch.zeros(1, config.queries, width))
        self.blocks_image = nn.ModuleList(Block(width, 12, 4) for _ in range(config.depth))
        self.image_down = nn.Sequential(
            nn.Linear(width, 256, bias=False),
            nn.ReLU(),
            nn.Linear(256, 128, bias=False),
            nn.ReLU(),
            nn.Linear(128, 32, bias=False),
        )
        self.distill_image_proj = nn.Linear(config.queries * 32, config.features)

    def causal_embeddings(self, images: Tensor) -> Tensor:
        """CLIP-normalised images (B, 3, S, S) -> the Q-Former's output (B, queries, hidden)."""
        return self.causal_embeddings_from_tokens(self.visual_encoder(images))

    def causal_embeddings_from_tokens(self, tokens: Tensor) -> Tensor:
        """The visual encoder's tokens (B, M, visual) -> the Q-Former's output (B, queries, hidden)."""
        return self.Qformer(self.query_tokens.expand(len(tokens), -1, -1), self.ln_vision(tokens))

    def encode_features(self, images: Tensor) -> Tensor:
        """CLIP-normalised images (B, 3, S, S) -> features before quantization (B, queries, code_dim)."""
        return self.encode_task_layer(self.causal_embeddings(images))

    def encode(self, images: Tensor) -> Tensor:
        """CLIP-normalised images (B, 3, S, S) -> ids (B, queries) int64."""
        return self.quantize.encode(self.encode_features(images).transpose(1, 2)[:, :, None])[:, 0]

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, queries) -> codes (B, queries, code_dim)."""
        return self.quantize.lookup(ids[:, None])[:, :, 0].transpose(1, 2)

    def image_embeds(self, ids: Tensor) -> Tensor:
        """Ids (B, queries) -> CLIP image embeddings (B, features)."""
        return self.image_embeds_from_codes(self.lookup(ids))

    def image_embeds_from_codes(self, codes: Tensor) -> Tensor:
        """Codes (B, queries, code_dim) -> CLIP image embeddings (B, features)."""
        x = self.decode_task_layer(codes) + self.pos_embed_image
        for block in self.blocks_image:
            x = block(x)
        return self.distill_image_proj(self.image_down(x).flatten(1))

    def reconstruct_causal_embeddings(self, codes: Tensor) -> Tensor:
        """Codes (B, queries, code_dim) -> the Q-Former's output again (B, queries, hidden), for a loss of training."""
        x = self.decode_task_layer(codes) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
