"""TiTok: a ViT encodes an image as a sequence of latent tokens, which are quantized, and another ViT decodes them.

Source: bytedance/1d-tokenizer `modeling/titok.py`, `modeling/modules/blocks.py`; Yu et al. 2024, arXiv 2406.07550.
The decoder of the first models (`legacy`) predicts the codes of a MaskGIT-VQGAN, whose own decoder makes the image; the
decoder of the later models ("vq8k") predicts the pixels of each patch. The continuous models ("vae") are as these, with
the mean and the variance of numbers in the place of ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Side
from lactok.nn.maskgit_vqgan import Decoder, MaskGITConfig
from lactok.nn.quantize import VectorQuantizer

# (width, layers, heads) of the ViTs
SIZES = {"small": (512, 8, 8), "base": (768, 12, 12), "large": (1024, 24, 16)}
Size = Literal["small", "base", "large"]


@dataclass(frozen=True)
class TiTokConfig(Config):
    """Shape of a `TiTok`; the defaults are those of TiTok-S-128.

    Attributes:
        encoder, decoder: (width, layers, heads) of the ViTs.
        tokens: number of latent tokens, which is the number of ids.
        codebook_size, code_dim: number and width of the codes.
        l2_norm: whether codes are compared as unit vectors.
        legacy: whether the image is decoded through the codes of a MaskGIT-VQGAN, as in the first models.
        image_size, patch: sides of an image and of a patch in pixels.
        pixel: the shape of that MaskGIT-VQGAN; not used unless `legacy`.
        mixed: whether the encoder has the reshape quirk of the first models, see `Encoder`; not used unless `legacy`.
        continuous: whether latent tokens are `code_dim` numbers each instead of codes; the encoder gives their mean and
            variance, and `codebook_size` and `l2_norm` are not used.
    """

    encoder: tuple[Count, Count, Count] = SIZES["small"]
    decoder: tuple[Count, Count, Count] = SIZES["small"]
    tokens: Count = 128
    codebook_size: Count = 4096
    code_dim: Count = 12
    l2_norm: bool = True
    legacy: bool = True
    image_size: Side = 256
    patch: Side = 16
    pixel: MaskGITConfig = field(default_factory=MaskGITConfig)
    mixed: bool = True
    continuous: bool = False

    @property
    def grid(self) -> int:
        """Number of patches along a side."""
        return self.image_size // self.patch


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of `nn.MultiheadAttention`.

    Tokens (B, L, width) -> (B, kept, width): the outputs at the positions `keep` alone.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, keep: slice) -> Tensor:
        width = x.shape[-1]
        weight_q, weight_k, weight_v = self.in_proj_weight.split(width)
        bias_q, bias_k, bias_v = self.in_proj_bias.split(width)
        q = self._split_heads(F.linear(x[:, keep], weight_q, bias_q))  # only the kept positions need a query
        k = self._split_heads(F.linear(x, weight_k, bias_k))
        v = self._split_heads(F.linear(x, weight_v, bias_v))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, heads, L, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with GELU between them, four times as wide inside; (B, L, width) -> (B, L, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Pre-norm transformer block; tokens (B, L, width) -> those at the positions `keep`, by default all of them."""

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
    """What encoder and decoder share: positional embeddings and blocks over [class token | patches | latent tokens].

    Args:
        size: (width, layers, heads).
        config: shape of the whole model.
    """

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
        """Run the transformer.

        Args:
            patches: one token for each patch (B, patches, width).
            latents: the latent tokens (B, tokens, width).
            keep: positions that are returned; the last block computes no others.

        Returns:
            The tokens at these positions after the last norm, (B, kept, width).
        """
        batch = len(patches)
        grid = torch.cat([self.class_embedding.expand(batch, 1, -1), patches], 1) + self.positional_embedding
        latents = latents + self.latent_token_positional_embedding
        x = self.ln_pre(torch.cat([grid, latents], 1))
        for block in self.transformer[:-1]:
            x = block(x)
        return self.ln_post(self.transformer[-1](x, keep))


class Encoder(ViT):
    """Images (B, 3, S, S) in [0, 1] and the learned latent tokens -> features (B, code_dim, 1, tokens).

    The continuous models give twice the channels, see `TiTok.posterior`.
    """

    def __init__(self, config: TiTokConfig):
        super().__init__(config.encoder, config)
        width = config.encoder[0]
        self.mixed = config.legacy and config.mixed
        self.patch_embed = nn.Conv2d(3, width, config.patch, stride=config.patch)
        self.conv_out = nn.Conv2d(width, config.code_dim * (2 if config.continuous else 1), 1)

    def forward(self, image: Tensor, latent_tokens: Tensor) -> Tensor:
        patches = self.patch_embed(image).flatten(2).transpose(1, 2)  # (B, patches, width)
        latents = latent_tokens.expand(len(image), -1, -1)
        x = self.blocks(patches, latents, slice(1 + self.patches, None))  # (B, tokens, width)
        # quirk of the first models: they reshape to (B, width, tokens) without a transposition, which mixes channels
        # and tokens
        x = x.reshape(len(x), x.shape[2], -1) if self.mixed else x.transpose(1, 2)
        return self.conv_out(x[..., None]).reshape(len(x), -1, 1, x.shape[2])


class Decoder1D(ViT):
    """Codes (B, code_dim, 1, tokens) -> images (B, 3, S, S), about [0, 1].

    With `legacy`, the output is instead the logits of the MaskGIT-VQGAN's codes, (B, its codebook size, grid, grid).
    """

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
        latents = self.decoder_embed(codes[:, :, 0].transpose(1, 2))  # (B, tokens, width)
        masks = self.mask_token.expand(len(codes), self.patches, -1)
        x = self.blocks(masks, latents, slice(1, 1 + self.patches))
        x = self.ffn(x.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid)))
        if not self.config.legacy:  # the channels are ordered as (row in the patch, column in the patch, colour)
            b, _, h, w = x.shape
            p = self.config.patch
            x = x.view(b, p, p, 3, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, 3, h * p, w * p)
        return self.conv_out(x)


class Codebook(nn.Module):
    """A codebook that is only looked up, under the parameter name of a quantizer's."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.embedding = nn.Embedding(size, dim)


class TiTok(nn.Module):
    """Turns images (B, 3, S, S) in [0, 1] into ids (B, tokens), or into numbers, and these into images."""

    def __init__(self, config: TiTokConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder1D(config)
        self.latent_tokens = nn.Parameter(config.encoder[0] ** -0.5 * torch.randn(config.tokens, config.encoder[0]))
        if not config.continuous:
            self.quantize = VectorQuantizer(config.codebook_size, config.code_dim, config.l2_norm)
        if config.legacy:
            self.pixel_quantize = Codebook(config.pixel.codebook_size, config.pixel.z_channels)
            self.pixel_decoder = Decoder(config.pixel)

    def encode_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] -> features before quantization (B, code_dim, 1, tokens)."""
        return self.encoder(images, self.latent_tokens)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] -> ids (B, tokens) int64."""
        return self.quantize.encode(self.encode_features(images))[:, 0]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (B, code_dim, 1, tokens) float32 of a continuous model's latent tokens.

        Args:
            images: (B, 3, S, S) in [0, 1].
        """
        mean, log_variance = self.encode_features(images).float().chunk(2, 1)
        return mean, (log_variance.clamp(-30, 20) / 2).exp()

    def soft_pixel_codes(self, logits: Tensor) -> Tensor:
        """Logits of the MaskGIT-VQGAN's codes (B, K, h, w) -> the codes' means (B, C, h, w), weighted by softmax.

        The original decodes these means, not the likeliest codes.
        """
        return torch.einsum("bkhw,kc->bchw", logits.softmax(1), self.pixel_quantize.embedding.weight)

    def decode_features(self, codes: Tensor) -> Tensor:
        """Codes (B, code_dim, 1, tokens) -> images (B, 3, S, S), about [0, 1], unclamped."""
        out = self.decoder(codes)
        return self.pixel_decoder(self.soft_pixel_codes(out)) if self.config.legacy else out

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, tokens) -> images (B, 3, S, S), about [0, 1], unclamped."""
        return self.decode_features(self.quantize.lookup(ids[:, None]))
