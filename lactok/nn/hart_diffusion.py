"""HART's small diffusion network, which predicts what a vector of the last scale's codes leaves over.

Source: mit-han-lab/hart `hart/modules/diffusion/`, after LTH14/mar and openai/improved-diffusion: a cosine schedule of
1000 steps of which a few are taken, a learned range of the variance, and a clipped prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRAINING_STEPS = 1000
REST_SCALE = 0.6  # the network works on vectors divided by this


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Return cosines, then sines, of numbers t (B,) at falling frequencies, (B, width) float32."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device).float() / half)
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


class Modulated(nn.Module):
    """A block of the network, scaled, shifted and gated by the condition; (N, width) -> (N, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.adaLN_modulation(condition).chunk(3, -1)
        return x + gate * self.mlp(self.in_ln(x) * (1 + scale) + shift)


class FinalLayer(nn.Module):
    """The last layer, scaled and shifted by the condition; (N, width) -> (N, outputs)."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, -1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)


class TimeEmbedding(nn.Module):
    """Timesteps (N,) -> (N, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sinusoids(t, 256).to(next(self.mlp.parameters()).dtype))


class Network(nn.Module):
    """Noised vectors (N, C), timesteps (N,), conditions (N, condition width) -> noise and variance (N, 2 C)."""

    def __init__(self, channels: int, condition: int, width: int, layers: int):
        super().__init__()
        self.time_embed = TimeEmbedding(width)
        self.cond_embed = nn.Linear(condition, width)
        self.input_proj = nn.Linear(channels, width)
        self.res_blocks = nn.ModuleList(Modulated(width) for _ in range(layers))
        self.final_layer = FinalLayer(width, 2 * channels)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        x = self.input_proj(x)
        given = self.time_embed(t) + self.cond_embed(condition)
        for block in self.res_blocks:
            x = block(x, given)
        return self.final_layer(x, given)


def timesteps(steps: int) -> list[int]:
    """Return the timesteps that are taken, ascending: evenly spaced from 0 to 999.

    >>> timesteps(8)
    [0, 143, 285, 428, 571, 714, 856, 999]
    """
    if steps == 1:
        return [0]
    return [round(i * (TRAINING_STEPS - 1) / (steps - 1)) for i in range(steps)]


def alphas_cumprod() -> Tensor:
    """Return the cumulative alphas of the cosine schedule, (1000,) float64, each beta at most 0.999."""

    def kept(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    n = TRAINING_STEPS
    betas = [min(1 - kept((i + 1) / n) / kept(i / n), 0.999) for i in range(n)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64, device="cpu"), 0)


class DiffusionHead(nn.Module):
    """The network and its sampler."""

    def __init__(self, channels: int, condition: int, width: int, layers: int):
        super().__init__()
        self.net = Network(channels, condition, width, layers)

    def sample(self, condition: Tensor, noises: Sequence[Tensor], guidance: float, steps: int) -> Tensor:
        """Draw vectors.

        Args:
            condition: (2 N, condition width), with prompts and without.
            noises: standard normal, where sampling starts (N, C) and for each step (N, C) or (2 N, C).
            guidance: scale t of (1 + t) conditional - t unconditional.
            steps: number of steps.

        Returns:
            (2 N, C), of which the first half is used; the second differs by its noise alone.
        """
        times = timesteps(steps)
        kept = alphas_cumprod()[times]
        before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
        betas = 1 - kept / before
        variance = betas * (1 - before) / (1 - kept)
        low = torch.cat([variance[1:2], variance[1:]]).log()  # at the last step it is 0, whose logarithm is none
        x = noises[0].to(condition).repeat(2, 1)
        for number, i in enumerate(reversed(range(steps))):
            half = x[: len(x) // 2]  # both are predicted from the first half
            out = self.net(half.repeat(2, 1), torch.full((len(x),), times[i], device=x.device), condition).float()
            predicted, fraction = out.chunk(2, -1)
            with_prompt, without = predicted.chunk(2)
            epsilon = ((1 + guidance) * with_prompt - guidance * without).repeat(2, 1)
            a, b, beta = float(kept[i]), float(before[i]), float(betas[i])
            clean = ((x - math.sqrt(1 - a) * epsilon) / math.sqrt(a)).clamp(-1, 1)
            mean = math.sqrt(b) * beta / (1 - a) * clean + (1 - b) * math.sqrt(1 - beta) / (1 - a) * x
            share = (fraction + 1) / 2  # of the way from the smallest to the largest variance
            log_variance = share * math.log(beta) + (1 - share) * float(low[i])
            noise = noises[1 + number].to(mean)
            noise = noise if len(noise) == len(mean) else noise.repeat(2, 1)
            x = mean + (0.5 * log_variance).exp() * noise if i > 0 else mean
        return REST_SCALE * x
