"""FlexTok: images to an ordered row of FSQ registers of any length, and back by rectified flow.

Source: Bachmann et al. 2025, arXiv 2502.13967, and apple/ml-flextok (`flextok/model`, `flextok/flow_matching`).
Attention is PyTorch's fused one with a boolean or additive mask, on every device; it equals the official
flex_attention to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.quantize import FSQ


@dataclass(frozen=True)
class FlexTokConfig(Config):
    """Shape of a `FlexTok`; the defaults are d18-d28's.

    Attributes:
        encoder, decoder: (width, blocks).
        registers: the largest number of tokens.
        grid, patch: latent patches along a side, latent pixels along a patch.
        max_timestep: the flow's time in [0, 1] times 1000 is divided by this before it is embedded.
        scaling: factor of the VAE's latents.
        sample_posterior: draw the VAE's latents rather than take their mean, as the shipped file says.
        vae_channels, vae_layers, vae_groups: the VAE's widths, residual blocks a level and groups of its norms.
    """

    encoder: tuple[int, int] = (1152, 18)
    decoder: tuple[int, int] = (1792, 28)
    registers: int = 256
    head_dim: int = 64
    grid: int = 16
    patch: int = 2
    latent_channels: int = 16
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    max_timestep: float = 1000.0
    scaling: float = 1.0
    sample_posterior: bool = False
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_layers: int = 2
    vae_groups: int = 32


def layer_norm(x: Tensor) -> Tensor:
    """Without scale or shift, eps 1e-5, as everywhere in this model."""
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Self-attention with normed queries and keys; (B, L, D)."""

    def __init__(self, width: int, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.wq, self.wk, self.wv, self.proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        # quirk (muP): the scale is 8 / head_dim, not 1 / sqrt(head_dim)
        out = F.scaled_dot_product_attention(layer_norm(q), layer_norm(k), v, mask, scale=8 / self.head_dim)
        return self.proj(out.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        hidden = int(2 / 3 * 4 * width)
        self.fc1 = nn.Linear(width, hidden, bias=False)
        self.fc3 = nn.Linear(width, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class Block(nn.Module):
    """Pre-norm block; with `modulated`, adaptive norms and gates from the time, apart for patches and registers."""

    def __init__(self, width: int, head_dim: int, modulated: bool = False):
        super().__init__()
        self.attn = Attention(width, head_dim)
        self.mlp = SwiGLU(width)
        if modulated:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 12 * width))

    def forward(self, x: Tensor, mask: Tensor | None, modulation: Tensor | None = None) -> Tensor:
        if modulation is None:
            x = x + self.attn(layer_norm(x), mask)
            return x + self.mlp(layer_norm(x))
        gate_a, gate_m, shift_a, scale_a, shift_m, scale_m = modulation.unbind(-2)  # (L, D) each
        x = x + gate_a * self.attn(layer_norm(x) * (1 + scale_a) + shift_a, mask)
        return x + gate_m * self.mlp(layer_norm(x) * (1 + scale_m) + shift_m)


class Patches(nn.Module):
    """Latents (B, C, h, w) -> patch embeddings with fixed 2D positions (B, patches, D)."""

    def __init__(self, config: FlexTokConfig, width: int):
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Linear(config.latent_channels * config.patch**2, width)
        self.position = nn.Parameter(torch.zeros(1, width, config.grid, config.grid))

    def forward(self, latents: Tensor) -> Tensor:
        b, c, h, w = latents.shape
        p = self.patch
        x = latents.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, h * w // p**2, p * p * c)
        return self.proj(x) + self.position.flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """VAE latents (B, C, h, w) -> registers before quantization (B, registers, len(levels))."""

    def __init__(self, config: FlexTokConfig):
        super().__init__()
        width, depth = config.encoder
        self.patches = Patches(config, width)
        self.registers = nn.Parameter(torch.randn(config.registers, width))
        self.blocks = nn.ModuleList(Block(width, config.head_dim) for _ in range(depth))
        self.head = nn.Linear(width, len(config.levels))

    def mask(self, patches: int, n: int, device: torch.device) -> Tensor:
        """(L, L) bool: patches see patches; each of n registers sees them, itself and the registers before it."""
        mask = torch.ones(patches + n, patches + n, dtype=torch.bool, device=device).tril()
        mask[:, :patches] = True
        return mask

    def forward(self, latents: Tensor, count: int | None = None) -> Tensor:
        """The first `count` registers alone, where given: none of them sees those after it."""
        patches = self.patches(latents)
        registers = self.registers[:count]
        x = torch.cat([patches, registers.expand(len(patches), -1, -1)], 1)
        mask = self.mask(patches.shape[1], len(registers), x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(layer_norm(x[:, patches.shape[1] :]))


class Head(nn.Module):
    """Modulated patches (B, patches, D) -> latents (B, C, h, w)."""

    def __init__(self, config: FlexTokConfig, width: int):
        super().__init__()
        self.patch, self.grid = config.patch, config.grid
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.proj = nn.Linear(width, config.latent_channels * config.patch**2)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = modulation.chunk(2, -1)
        x = self.proj(layer_norm(x) * (1 + scale) + shift)
        g, p = self.grid, self.patch
        return x.view(len(x), g, g, p, p, -1).permute(0, 5, 1, 3, 2, 4).reshape(len(x), -1, g * p, g * p)


@dataclass(frozen=True)
class Condition:
    """Register states (B, n, D) and how many equal registers each stands for, as a logarithm, (n,) or None.

    Equal registers stay equal through every block: the decoder's attention is full, and positions enter only with the
    embeddings. One of them with log(count) added to its attention scores therefore gives the same numbers as all.
    """

    states: Tensor
    log_counts: Tensor | None = None


@dataclass(frozen=True)
class Modulation:
    """What the network makes of one time: blocks x (2, 6, D) and the head's (2 * D,).

    Of one time an image: (B, 2, 6, D) and (B, 1, 2 * D).
    """

    blocks: tuple[Tensor, ...]
    head: Tensor


class Decoder(nn.Module):
    """The velocity of the flow at noised latents, given registers."""

    def __init__(self, config: FlexTokConfig):
        super().__init__()
        width, depth = config.decoder
        self.config = config
        self.from_codes = nn.Linear(len(config.levels), width)
        self.register_position = nn.Parameter(torch.zeros(1, 1, width, config.registers))
        self.mask_token = nn.Parameter(torch.randn(width))
        self.null_token = nn.Parameter(torch.randn(width))
        self.patches = Patches(config, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, config.head_dim, modulated=True) for _ in range(depth))
        self.head = Head(config, width)

    def condition(self, codes: Tensor, lengths: Tensor | None = None, merge: bool = True) -> Condition:
        """Codes (B, k, C) as register states.

        Args:
            codes: quantized registers; those from k on count as dropped.
            lengths: (B,) how many of the k to keep for each image, where they differ; never merged.
            merge: stand one mask token for all dropped registers.
        """
        n, k = self.config.registers, codes.shape[1]
        states = self.from_codes(codes) + self.register_position[0, 0, :, :k].t()
        if lengths is not None:
            kept = torch.arange(k, device=codes.device) < lengths[:, None]
            states = torch.where(kept[..., None], states, self.mask_token.to(states.dtype))
        elif merge and n - k > 1:
            mask = self.mask_token.to(states.dtype).expand(len(codes), 1, -1)
            counts = torch.ones(k + 1, device=codes.device)
            counts[-1] = n - k
            return Condition(torch.cat([states, mask], 1), counts.log())
        dropped = self.mask_token.to(states.dtype).expand(len(codes), n - k, -1)
        return Condition(torch.cat([states, dropped], 1))

    def unconditional(self, batch: int, merge: bool = True) -> Condition:
        """All registers are the null token."""
        n = self.config.registers
        if merge:
            counts = torch.full((1,), float(n), device=self.null_token.device)
            return Condition(self.null_token.expand(batch, 1, -1), counts.log())
        return Condition(self.null_token.expand(batch, n, -1))

    def modulation(self, times: Tensor) -> Modulation:
        """Times (B,) in [0, 1], one an image -> what the blocks make of them."""
        half = 128
        # quirks: the longest period is 256, the width of the embedding, not 10000; and time runs over
        # [0, 1000 / max_timestep], which at the default of 1000 leaves it in [0, 1]
        rates = torch.exp(-math.log(2 * half) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
        angles = (times * (1000 / self.config.max_timestep))[:, None] * rates
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        blocks = tuple(b.get_submodule("adaLN_modulation")(embedding).unflatten(-1, (2, 6, -1)) for b in self.blocks)
        return Modulation(blocks, self.head.adaLN_modulation(embedding)[:, None])

    def modulations(self, times: Tensor) -> list[Modulation]:
        """Times (N,) in [0, 1] -> what the blocks make of each; once for all images and both kinds of condition."""
        found = self.modulation(times)
        return [Modulation(tuple(b[i] for b in found.blocks), found.head[i, 0]) for i in range(len(times))]

    def forward(self, x: Tensor, modulation: Modulation, condition: Condition) -> Tensor:
        """Velocity (B, C, h, w) at noised latents x of the same shape."""
        patches = self.patches(x)
        p, n = patches.shape[1], condition.states.shape[1]
        h = torch.cat([patches, condition.states.to(patches.dtype)], 1)
        mask = None
        if condition.log_counts is not None:
            counts = torch.cat([torch.zeros(p, device=x.device), condition.log_counts])
            mask = counts.to(h.dtype).expand(1, 1, p + n, -1)
        segment = torch.arange(p + n, device=x.device) // p  # 0 for patches ...
        segment = segment.clamp(max=1)  # ... 1 for registers
        for block, values in zip(self.blocks, modulation.blocks, strict=True):
            h = block(h, mask, values[..., segment, :, :])
        return self.head(h[:, :p], modulation.head)


@dataclass
class NormGuidance:
    """Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416) as FlexTok sets it; one state a decoding.

    What the condition adds is averaged with negative momentum, limited in norm and freed of its part along the
    conditional prediction; all of it an image, the projection in float64.
    """

    scale: float
    momentum: float = -0.5
    threshold: float = 2.5
    average: Tensor | float = 0.0

    def __call__(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        self.average = conditional - unconditional + self.momentum * self.average
        dims = tuple(range(1, conditional.ndim))
        norm = torch.linalg.vector_norm(self.average, dim=dims, keepdim=True)
        update = self.average * (self.threshold / norm).clamp(max=1.0)
        wide = torch.float64 if conditional.device.type != "mps" else torch.float32
        direction = F.normalize(conditional.to(wide).flatten(1), dim=1).view_as(conditional)
        along = (update.to(wide) * direction).sum(dims, keepdim=True) * direction
        return conditional + (self.scale - 1) * (update.to(wide) - along).to(conditional.dtype)


@dataclass
class PlainGuidance:
    """Classifier-free guidance: u + scale * (c - u)."""

    scale: float

    def __call__(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        return unconditional + self.scale * (conditional - unconditional)


class FlexTok(nn.Module):
    """VAE, register encoder, FSQ and flow decoder; images are [-1, 1], the output is not clamped."""

    def __init__(self, config: FlexTokConfig):
        from diffusers import AutoencoderKL  # here, because it takes seconds and not every command builds a network

        super().__init__()
        self.config = config
        levels = len(config.vae_channels)
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=config.vae_channels,
            layers_per_block=config.vae_layers,
            latent_channels=config.latent_channels,
            norm_num_groups=config.vae_groups,
        )
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.fsq = FSQ(config.levels)
        self.merge = True  # equal registers as one; False computes every one

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.config.grid * self.config.patch
        return (self.config.latent_channels, side, side)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> mean and standard deviation of the latents, unscaled."""
        found = self.vae.encode(images).latent_dist
        return found.mean, found.std

    def latents(self, images: Tensor, draw: Tensor | None = None) -> Tensor:
        """Scaled latents: the posterior's mean, plus `draw` (like the latents) times its deviation where given."""
        mean, deviation = self.posterior(images)
        return (mean if draw is None else mean + deviation * draw) * self.config.scaling

    def encode(self, images: Tensor, draw: Tensor | None = None, count: int | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> ids (B, registers) int64; every prefix is a description by itself.

        Args:
            count: length of the prefix, where not all are wanted.
        """
        return self.fsq.encode(self.encoder(self.latents(images, draw), count))

    def sample(self, ids: Tensor, noise: Tensor, steps: int, guidance: NormGuidance | PlainGuidance) -> Tensor:
        """ids (B, k) and noise (B, *latent_shape) -> latents by `steps` Euler steps from time 1 to 0."""
        condition = self.decoder.condition(self.fsq.lookup(ids), merge=self.merge)
        unconditional = self.decoder.unconditional(len(ids), self.merge)
        times = torch.arange(steps, 0, -1, device=noise.device, dtype=torch.float32) / steps
        x = noise
        for modulation in self.decoder.modulations(times):
            velocity = self.decoder(x, modulation, condition).float()
            if guidance.scale != 1:
                velocity = guidance(velocity, self.decoder(x, modulation, unconditional).float())
            x = x - velocity / steps
        return x

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) -> images (B, 3, H, W) about [-1, 1]."""
        return self.vae.decode(latents / self.config.scaling).sample

    def decode(self, ids: Tensor, noise: Tensor, steps: int, guidance: NormGuidance | PlainGuidance) -> Tensor:
        """ids (B, k <= registers) -> images (B, 3, H, W), about [-1, 1]."""
        return self.decode_latents(self.sample(ids, noise, steps, guidance))
