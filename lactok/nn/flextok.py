"""FlexTok: encodes an image as an ordered sequence of register tokens, and decodes any prefix of it by rectified flow.

Source: Bachmann et al. 2025, arXiv 2502.13967, and apple/ml-flextok (`flextok/model`, `flextok/flow_matching`). The
official code computes attention with PyTorch's flex_attention. Here `scaled_dot_product_attention` with a mask does it
on every device; the results are the same but for rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config, Count, Counts, Positive
from lactok.nn.quantize import FSQ


@dataclass(frozen=True)
class FlexTokConfig(Config):
    """Shape of a `FlexTok`; the defaults are those of flextok-d18-d28.

    Attributes:
        encoder, decoder: (width, number of blocks) of the transformers.
        registers: the number of register tokens, which is the largest number of ids.
        head_dim: width of an attention head.
        grid: number of patches along a side of the latents.
        patch: side of a patch in latents.
        latent_channels: channels of the VAE's latents.
        levels: numbers of levels of FSQ's channels.
        max_timestep: 1000 times the flow's time, which is in [0, 1], is divided by this before it is embedded.
        scaling: factor by which the VAE's latents are multiplied.
        sample_posterior: whether the authors take a sample of the VAE's posterior as latents, or its mean.
        vae_channels, vae_layers, vae_groups: the VAE's widths from the finest level to the coarsest, its residual
            blocks of a level, and the groups of its group norms.
    """

    encoder: tuple[Count, Count] = (1152, 18)
    decoder: tuple[Count, Count] = (1792, 28)
    registers: Count = 256
    head_dim: Count = 64
    grid: Count = 16
    patch: Count = 2
    latent_channels: Count = 16
    levels: Counts = (8, 8, 8, 5, 5, 5)
    max_timestep: Positive = 1000.0
    scaling: Positive = 1.0
    sample_posterior: bool = False
    vae_channels: Counts = (128, 256, 512, 512)
    vae_layers: Count = 2
    vae_groups: Count = 32


def layer_norm(x: Tensor) -> Tensor:
    """Normalise the last dimension of (..., D) without scale or shift, as everywhere in this model."""
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Self-attention with normalised queries and keys.

    Tokens x (B, L, width) -> (B, L, width); the mask broadcasts to (B, heads, L, L), either bool, True where a token
    attends, or float, added to the attention scores.
    """

    def __init__(self, width: int, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.wq, self.wk, self.wv, self.proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (self._split_heads(linear(x)) for linear in (self.wq, self.wk, self.wv))
        # quirk: the scale is 8 / head_dim, as maximal update parametrization has it, not 1 / sqrt(head_dim)
        out = F.scaled_dot_product_attention(layer_norm(q), layer_norm(k), v, mask, scale=8 / self.head_dim)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, heads, L, head_dim)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class SwiGLU(nn.Module):
    """The transformer's MLP with a gate (Shazeer 2020, arXiv 2002.05202); (B, L, width) -> (B, L, width)."""

    def __init__(self, width: int):
        super().__init__()
        hidden = int(2 / 3 * 4 * width)
        self.fc1 = nn.Linear(width, hidden, bias=False)
        self.fc3 = nn.Linear(width, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class Block(nn.Module):
    """Pre-norm transformer block; tokens (B, L, width) -> (B, L, width).

    With `modulated`, the flow's time sets the scale and shift of its norms and the gates of its residual connections.
    It does so for the patches in one way and for the registers in another.
    """

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
        # (L, width) each, or (B, L, width) where each image has its own time
        gate_attn, gate_mlp, shift_attn, scale_attn, shift_mlp, scale_mlp = modulation.unbind(-2)
        x = x + gate_attn * self.attn(layer_norm(x) * (1 + scale_attn) + shift_attn, mask)
        return x + gate_mlp * self.mlp(layer_norm(x) * (1 + scale_mlp) + shift_mlp)


class PatchEmbedding(nn.Module):
    """Latents (B, C, h, w) -> patch embeddings with positional embeddings added, (B, patches, width)."""

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
    """VAE latents (B, C, h, w) -> register tokens before quantization (B, registers, len(levels))."""

    def __init__(self, config: FlexTokConfig):
        super().__init__()
        width, depth = config.encoder
        self.patches = PatchEmbedding(config, width)
        self.registers = nn.Parameter(torch.randn(config.registers, width))
        self.blocks = nn.ModuleList(Block(width, config.head_dim) for _ in range(depth))
        self.head = nn.Linear(width, len(config.levels))

    def mask(self, patches: int, registers: int, device: torch.device) -> Tensor:
        """Return the attention mask (L, L) bool, where L = patches + registers.

        A patch attends to all patches; a register attends to all patches, to the registers before it and to itself.
        """
        length = patches + registers
        mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        mask[:, :patches] = True
        return mask

    def forward(self, latents: Tensor, count: int | None = None) -> Tensor:
        """Encode latents (B, C, h, w).

        Args:
            count: how many registers to compute, from the first, by default all. The others do not change them, since
                no register attends to those after it.

        Returns:
            Register tokens before quantization (B, count, len(levels)).
        """
        patches = self.patches(latents)
        registers = self.registers[:count]
        x = torch.cat([patches, registers.expand(len(patches), -1, -1)], 1)
        mask = self.mask(patches.shape[1], len(registers), x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(layer_norm(x[:, patches.shape[1] :]))


class Head(nn.Module):
    """Patches (B, patches, width), whose norm the flow's time modulates -> latents (B, C, h, w)."""

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
    """The register tokens that the decoder attends to.

    All registers that were dropped have the same token. They stay equal in every block, because each attends to all
    tokens and positions enter only with the embeddings. One token therefore stands for n equal ones, with log(n) added
    to the attention scores of those that attend to it; the result is the same but for rounding.

    Attributes:
        states: register tokens (B, n, width).
        log_counts: logarithms of how many registers each of them stands for, (n,); None where each stands for itself.
    """

    states: Tensor
    log_counts: Tensor | None = None


@dataclass(frozen=True)
class Modulation:
    """Scales, shifts and gates for one time of the flow, as the decoder's blocks and its head take them.

    Attributes:
        blocks: for each block (2, 6, width): for patches and for registers two gates, then shift and scale of the
            attention's norm, then shift and scale of the MLP's. Where each image has its own time, (B, 2, 6, width).
        head: shift and scale of the head's norm, (2 * width,), or (B, 1, 2 * width).
    """

    blocks: tuple[Tensor, ...]
    head: Tensor


class Decoder(nn.Module):
    """Predicts the velocity of the flow at noised latents, given register tokens."""

    def __init__(self, config: FlexTokConfig):
        super().__init__()
        width, depth = config.decoder
        self.config = config
        self.from_codes = nn.Linear(len(config.levels), width)
        self.register_position = nn.Parameter(torch.zeros(1, 1, width, config.registers))
        self.mask_token = nn.Parameter(torch.randn(width))
        self.null_token = nn.Parameter(torch.randn(width))
        self.patches = PatchEmbedding(config, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, config.head_dim, modulated=True) for _ in range(depth))
        self.head = Head(config, width)

    def condition(self, codes: Tensor, lengths: Tensor | None = None, merge: bool = True) -> Condition:
        """Turn codes into register tokens.

        Args:
            codes: quantized registers (B, k, len(levels)); the registers after the first k are dropped.
            lengths: how many of the k to keep for each image (B,), by default all.
            merge: let one mask token stand for all dropped registers; without effect where `lengths` is given.
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
        """Return the condition for `batch` images whose registers are all the null token; `merge` as in `condition`."""
        n = self.config.registers
        if merge:
            counts = torch.full((1,), float(n), device=self.null_token.device)
            return Condition(self.null_token.expand(batch, 1, -1), counts.log())
        return Condition(self.null_token.expand(batch, n, -1))

    def modulation(self, times: Tensor) -> Modulation:
        """Times of the flow (B,) in [0, 1], one for each image -> their modulation."""
        half = 128  # of the 256 channels of the sinusoidal embedding
        # quirks: the frequencies fall to 1 / 256, where others have 1 / 10000; and the time is not multiplied by 1000,
        # since 1000 / max_timestep is 1 in the published models
        rates = torch.exp(-math.log(2 * half) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
        angles = (times * (1000 / self.config.max_timestep))[:, None] * rates
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        # in this order: gradients are added in the reverse of it, and their sum is rounded
        blocks = [block.get_submodule("adaLN_modulation")(embedding) for block in self.blocks]
        head = self.head.adaLN_modulation(embedding)
        return Modulation(tuple(block.unflatten(-1, (2, 6, -1)) for block in blocks), head[:, None])

    def modulations(self, times: Tensor) -> list[Modulation]:
        """Times of the flow (N,) in [0, 1] -> a modulation for each time, which all images of a batch share."""
        all_times = self.modulation(times)
        return [
            Modulation(tuple(block[i] for block in all_times.blocks), all_times.head[i, 0]) for i in range(len(times))
        ]

    def forward(self, x: Tensor, modulation: Modulation, condition: Condition) -> Tensor:
        """Noised latents x (B, C, h, w) -> the velocity of the flow there, of the same shape."""
        patches = self.patches(x)
        p, n = patches.shape[1], condition.states.shape[1]
        h = torch.cat([patches, condition.states.to(patches.dtype)], 1)
        mask = None
        if condition.log_counts is not None:
            log_counts = torch.cat([torch.zeros(p, device=x.device), condition.log_counts])
            mask = log_counts.to(h.dtype).expand(1, 1, p + n, -1)
        is_register = (torch.arange(p + n, device=x.device) >= p).long()  # 0 for patches, 1 for registers
        for block, values in zip(self.blocks, modulation.blocks, strict=True):
            h = block(h, mask, values[..., is_register, :, :])
        return self.head(h[:, :p], modulation.head)


@dataclass
class NormGuidance:
    """Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416) with FlexTok's settings.

    The difference between the conditional and the unconditional prediction is averaged over the steps with negative
    momentum and limited in norm, and its part parallel to the conditional prediction is removed. All of this happens
    for each image by itself. An object serves for one decoding, because it holds the average.

    Attributes:
        scale: strength of the guidance; 1 is none.
        momentum: weight of the previous average.
        threshold: largest norm of the average.
        average: the average so far.
    """

    scale: float
    momentum: float = -0.5
    threshold: float = 2.5
    average: Tensor | float = 0.0

    def __call__(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Two predictions (B, C, h, w) -> the guided one."""
        self.average = conditional - unconditional + self.momentum * self.average
        dims = tuple(range(1, conditional.ndim))
        norm = torch.linalg.vector_norm(self.average, dim=dims, keepdim=True)
        update = self.average * (self.threshold / norm).clamp(max=1.0)
        # the original projects in float64, which Apple's GPUs do not have
        dtype = torch.float64 if conditional.device.type != "mps" else torch.float32
        direction = F.normalize(conditional.to(dtype).flatten(1), dim=1).view_as(conditional)
        parallel = (update.to(dtype) * direction).sum(dims, keepdim=True) * direction
        return conditional + (self.scale - 1) * (update.to(dtype) - parallel).to(conditional.dtype)


@dataclass
class PlainGuidance:
    """Classifier-free guidance: unconditional + scale * (conditional - unconditional); a scale of 1 is none."""

    scale: float

    def __call__(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Two predictions (B, C, h, w) -> the guided one."""
        return unconditional + self.scale * (conditional - unconditional)


class FlexTok(nn.Module):
    """VAE, encoder with registers, FSQ, and a decoder that generates the latents by rectified flow.

    Attributes:
        merge: whether the decoder computes equal registers as one (see `Condition`); False computes each of them.
    """

    def __init__(self, config: FlexTokConfig):
        # imported here, because it takes seconds and not every command makes a network
        from diffusers import AutoencoderKL

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
        self.merge = True

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latents of an image."""
        side = self.config.grid * self.config.patch
        return (self.config.latent_channels, side, side)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) in [-1, 1] -> mean and std of the VAE's latents, (B, C, h, w) each, unscaled."""
        found = self.vae.encode(images).latent_dist
        return found.mean, found.std

    def latents(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encode images by the VAE.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            noise: standard normal noise (B, *latent_shape), with which the posterior is sampled; without it the
                latents are the posterior's mean.

        Returns:
            Scaled latents (B, *latent_shape).
        """
        mean, std = self.posterior(images)
        if noise is not None:
            mean = mean + std * noise
        return mean * self.config.scaling

    def encode(self, images: Tensor, noise: Tensor | None = None, count: int | None = None) -> Tensor:
        """Encode images as ids, of which every prefix can be decoded.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            noise: as in `latents`.
            count: how many ids to compute, from the first, by default all.

        Returns:
            Ids (B, count) int64.
        """
        return self.fsq.encode(self.encoder(self.latents(images, noise), count))

    def sample(self, ids: Tensor, noise: Tensor, steps: int, guidance: NormGuidance | PlainGuidance) -> Tensor:
        """Generate latents by Euler's method from time 1, which is noise, to time 0.

        Args:
            ids: (B, k), k at most `registers`.
            noise: standard normal noise (B, *latent_shape).
            steps: number of Euler steps.
            guidance: combines the conditional and the unconditional prediction of each step.

        Returns:
            Scaled latents (B, *latent_shape).
        """
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
        """Scaled latents (B, C, h, w) -> images (B, 3, H, W), about [-1, 1], unclamped."""
        return self.vae.decode(latents / self.config.scaling).sample

    def decode(self, ids: Tensor, noise: Tensor, steps: int, guidance: NormGuidance | PlainGuidance) -> Tensor:
        """Ids (B, k) -> images (B, 3, H, W), about [-1, 1], unclamped; the arguments are those of `sample`."""
        return self.decode_latents(self.sample(ids, noise, steps, guidance))
