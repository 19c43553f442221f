"""TiTok: a ViT that reads an image into a row of latent tokens, and one that writes it back.

Source: bytedance/1d-tokenizer `modeling/titok.py`, `modeling/modules/blocks.py`; Yu et al. 2024, arXiv 2406.07550.
Two layouts: the first models (`legacy`) predict codes of a MaskGIT-VQGAN and decode through it, the later ones (vq8k)
write RGB directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.maskgit_vqgan import Decoder, MaskGITConfig
from lactok.nn.quantize import VectorQuantizer

# width, layers, heads
SIZES = {"small": (512, 8, 8), "base": (768, 12, 12), "large": (1024, 24, 16)}
Size = Literal["small", "base", "large"]


@dataclass(frozen=True)
class TiTokConfig(Config):
    """Shape of a `TiTok`; the defaults are TiTok-S-128.

    Attributes:
        encoder, decoder: (width, layers, heads).
        legacy: the first layout: ids of a MaskGIT-VQGAN as a detour.
        pixel: that MaskGIT-VQGAN; only read where `legacy`.
        mixed: the reshape quirk of `Encoder`, which the first models have; only read where `legacy`.
    """

    encoder: tuple[int, int, int] = SIZES["small"]
    decoder: tuple[int, int, int] = SIZES["small"]
    tokens: int = 128
    codebook_size: int = 4096
    code_dim: int = 12
    l2_norm: bool = True
    legacy: bool = True
    image_size: int = 256
    patch: int = 16
    pixel: MaskGITConfig = field(default_factory=MaskGITConfig)
    mixed: bool = True

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch


class Attention(nn.Module):
    """Multi-head self-attention under `nn.MultiheadAttention`'s parameter names; (B, L, W) -> (B, L', W)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, keep: slice) -> Tensor:
        width = x.shape[-1]
        weights, biases = self.in_proj_weight.split(width), self.in_proj_bias.split(width)
        inputs = (x[:, keep], x, x)  # only the kept positions ask
        q, k, v = (
            F.linear(i, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, W/heads)
            for i, w, b in zip(inputs, weights, biases, strict=True)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Pre-norm transformer block; `keep` names the positions that it returns."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, keep: slice = slice(None)) -> Tensor:
        x = x[:, keep] + self.attn(self.ln_1(x), keep)
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """What encoder and decoder share: embeddings, norms and blocks over [class | patches | latent tokens]."""

    def __init__(self, size: tuple[int, int, int], config: TiTokConfig):
        super().__init__()
        width, layers, heads = size
        scale = width**-0.5
        self.patches = config.grid**2
        self.class_embedding = nn.Parameter(scale * torch.randn(1, width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + self.patches, width))
        self.latent_token_positional_embedding = nn.Parameter(scale * torch.randn(config.tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)

    def blocks(self, patches: Tensor, latents: Tensor, keep: slice) -> Tensor:
        """(B, patches, W) and (B, N, W) -> the positions of `keep`, (B, kept, W), normed.

        The last block computes nothing for positions that are dropped afterwards.
        """
        batch = len(patches)
        grid = torch.cat([self.class_embedding.expand(batch, 1, -1), patches], 1) + self.positional_embedding
        latents = latents + self.latent_token_positional_embedding
        x = self.ln_pre(torch.cat([grid, latents], 1))
        for block in self.transformer[:-1]:
            x = block(x)
        return self.ln_post(self.transformer[-1](x, keep))


class Encoder(ViT):
    """(B, 3, S, S) in [0, 1] -> (B, code_dim, 1, N)."""

    def __init__(self, config: TiTokConfig):
        super().__init__(config.encoder, config)
        width = config.encoder[0]
        self.mixed = config.legacy and config.mixed
        self.patch_embed = nn.Conv2d(3, width, config.patch, stride=config.patch)
        self.conv_out = nn.Conv2d(width, config.code_dim, 1)

    def forward(self, image: Tensor, latent_tokens: Tensor) -> Tensor:
        patches = self.patch_embed(image).flatten(2).transpose(1, 2)  # (B, patches, W)
        latents = latent_tokens.expand(len(image), -1, -1)
        x = self.blocks(patches, latents, slice(1 + self.patches, None))  # (B, N, W)
        # quirk of the first models: the memory of (B, N, W) is read as (B, W, N), which mixes channels and positions
        x = x.reshape(len(x), x.shape[2], -1) if self.mixed else x.transpose(1, 2)
        return self.conv_out(x[..., None]).reshape(len(x), -1, 1, x.shape[2])


class Decoder1D(ViT):
    """(B, code_dim, 1, N) -> (B, proxy codes, grid, grid) logits, or (B, 3, S, S) where not `legacy`."""

    def __init__(self, config: TiTokConfig):
        super().__init__(config.decoder, config)
        width = config.decoder[0]
        self.config = config
        self.mask_token = nn.Parameter(width**-0.5 * torch.randn(1, 1, width))
        self.decoder_embed = nn.Linear(config.code_dim, width)
        if config.legacy:
            self.ffn = nn.Sequential(
                nn.Conv2d(width, 2 * width, 1), nn.Tanh(), nn.Conv2d(2 * width, config.pixel.codebook_size, 1)
            )
            self.conv_out: nn.Module = nn.Identity()
        else:
            self.ffn = nn.Sequential(nn.Conv2d(width, 3 * config.patch**2, 1))
            self.conv_out = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        latents = self.decoder_embed(codes[:, :, 0].transpose(1, 2))  # (B, N, W)
        masks = self.mask_token.expand(len(codes), self.patches, -1)
        x = self.blocks(masks, latents, slice(1, 1 + self.patches))
        x = self.ffn(x.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid)))
        if not self.config.legacy:  # channels are (row in the patch, column in the patch, colour)
            b, _, h, w = x.shape
            p = self.config.patch
            x = x.view(b, p, p, 3, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, 3, h * p, w * p)
        return self.conv_out(x)


class Codes(nn.Module):
    """A bare table of codes."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.embedding = nn.Embedding(size, dim)


class TiTok(nn.Module):
    """Images (B, 3, S, S) in [0, 1] to N ids and back; the output is not clamped."""

    def __init__(self, config: TiTokConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder1D(config)
        self.latent_tokens = nn.Parameter(config.encoder[0] ** -0.5 * torch.randn(config.tokens, config.encoder[0]))
        self.quantize = VectorQuantizer(config.codebook_size, config.code_dim, config.l2_norm)
        if config.legacy:
            self.pixel_quantize = Codes(config.pixel.codebook_size, config.pixel.z_channels)
            self.pixel_decoder = Decoder(config.pixel)

    def encode_features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, code_dim, 1, N), before quantization."""
        return self.encoder(images, self.latent_tokens)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> ids (B, N) int64."""
        return self.quantize.encode(self.encode_features(images))[:, 0]

    def soft_pixel_codes(self, logits: Tensor) -> Tensor:
        """Proxy-code logits (B, K, h, w) -> the mean code under their soft-max (B, C, h, w): no argmax is taken."""
        return torch.einsum("bkhw,kc->bchw", logits.softmax(1), self.pixel_quantize.embedding.weight)

    def decode_features(self, codes: Tensor) -> Tensor:
        """(B, code_dim, 1, N), quantized -> (B, 3, S, S), about [0, 1]."""
        out = self.decoder(codes)
        return self.pixel_decoder(self.soft_pixel_codes(out)) if self.config.legacy else out

    def decode(self, ids: Tensor) -> Tensor:
        """ids (B, N) -> (B, 3, S, S), about [0, 1], unclamped."""
        return self.decode_features(self.quantize.lookup(ids[:, None]))
