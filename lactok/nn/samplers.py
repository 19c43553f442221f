"""Samplers of a diffusion model that predicts the noise (epsilon): TLCM's few steps, Hyper-SD's single step, and DDIM.

Timesteps are whole numbers from 999, almost pure noise, to 0; all samplers share SDXL's noise schedule. Sources:
LaCTok's `diffusion_pipeline_tlcm.py` (TLCM, Xie et al. 2024, arXiv 2406.05768), the Hyper-SD model card (Ren et al.
2024, arXiv 2404.13686), and Song et al. 2020, arXiv 2010.02502.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lactok.errors import UserError, unknown

Predict = Callable[[Tensor, int], Tensor]  # (noised latents (B, C, h, w), timestep) -> epsilon of the same shape

# TLCM's timesteps for each number of steps: some of linspace(999, 0, 9), cut to whole numbers rather than rounded; from
# OPPO-Mente-Lab/TLCM `inference.py`
TLCM = {
    1: (999,),
    2: (999, 499),
    3: (999, 499, 124),
    4: (999, 749, 499, 124),
    5: (999, 749, 499, 249, 124),
    6: (999, 749, 499, 374, 249, 124),
    7: (999, 749, 624, 499, 374, 249, 124),
    8: (999, 874, 749, 624, 499, 374, 249, 124),
}
HYPER_SD = (800,)  # the timestep of Hyper-SD's single step
SAMPLERS = ("tlcm", "hyper-sd", "ddim")
TRAINING_TIMESTEPS = 1000


@lru_cache(maxsize=1)
def alphas_cumprod() -> Tensor:
    """Return the cumulative alphas a_t of SDXL's schedule, (1000,) float32.

    The betas are squares of 1000 values evenly spaced from sqrt(0.00085) to sqrt(0.012).
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TRAINING_TIMESTEPS, dtype=torch.float32, device="cpu") ** 2
    return torch.cumprod(1 - betas, 0)


def _alpha(t: int | Tensor, like: Tensor) -> Tensor:
    """Return a_t of one timestep or of (B,) of them, shaped to multiply latents `like` (B, C, h, w)."""
    return alphas_cumprod()[torch.as_tensor(t).cpu()].to(like).view(-1, 1, 1, 1)


def add_noise(clean: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
    """Return the latents at timestep t: sqrt(a_t) clean + sqrt(1 - a_t) noise.

    Args:
        clean: clean latents (B, C, h, w).
        noise: standard normal noise of the same shape.
        t: one timestep, or (B,) of them.
    """
    a = _alpha(t, clean)
    return a.sqrt() * clean + (1 - a).sqrt() * noise


def predicted_clean(x: Tensor, epsilon: Tensor, t: int | Tensor) -> Tensor:
    """Return the clean latents that a prediction of the noise implies: (x - sqrt(1 - a_t) epsilon) / sqrt(a_t).

    Args:
        x: noised latents (B, C, h, w).
        epsilon: the predicted noise of the same shape.
        t: one timestep, or (B,) of them.
    """
    a = _alpha(t, x)
    return (x - (1 - a).sqrt() * epsilon) / a.sqrt()


def consistency(predict: Predict, noises: Sequence[Tensor], times: Sequence[int]) -> Tensor:
    """Sample as TLCM and Hyper-SD do: predict the clean latents, add fresh noise for the next timestep, predict again.

    Args:
        predict: the network.
        noises: standard normal noise (B, C, h, w) for each timestep; the first one is where sampling starts.
        times: descending timesteps.

    Returns:
        The last prediction of the clean latents (B, C, h, w); no noise is added after it.
    """
    x = noises[0]
    clean = x
    for i, t in enumerate(times):
        if i > 0:
            x = add_noise(clean, noises[i], t)
        clean = predicted_clean(x, predict(x, t), t)
    return clean


def timesteps(sampler: str, steps: int) -> tuple[int, ...]:
    """Return the descending timesteps of a sampler.

    Args:
        sampler: one of `SAMPLERS`.
        steps: number of steps.

    Raises:
        UserError: there is no such sampler, or it has no timesteps for that many steps.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if sampler == "ddim":
        return ddim_timesteps(steps)
    tables = TLCM if sampler == "tlcm" else {1: HYPER_SD}
    if steps not in tables:
        raise UserError(f"{sampler} has no table of {steps} steps, only of {', '.join(map(str, tables))}")
    return tables[steps]


def sample(predict: Predict, draw_noise: Callable[[str], Tensor], sampler: str, steps: int) -> Tensor:
    """Return clean latents (B, C, h, w) that a sampler draws.

    Args:
        predict: the network.
        draw_noise: returns standard normal noise (B, C, h, w) by the name of its use: "start", "renoise 1", ...
        sampler: one of `SAMPLERS`.
        steps: number of steps.

    Raises:
        UserError: there is no such sampler, or it has no timesteps for that many steps.
    """
    times = timesteps(sampler, steps)
    start = draw_noise("start")
    if sampler == "ddim":
        return ddim(predict, start, steps)
    fresh = [draw_noise(f"renoise {i}") for i in range(1, len(times))]
    return consistency(predict, [start, *fresh], times)


def tcd_step(x: Tensor, epsilon: Tensor, t: int) -> Tensor:
    """Return the latents after one step of TCD with eta 1 to timestep 0, as the model card of Hyper-SD's LoRA runs it.

    Quirk: timestep 0 is not clean, a_0 = 0.99915, so a little of the predicted noise stays.

    Args:
        x: noised latents (B, C, h, w).
        epsilon: the predicted noise of the same shape.
        t: their timestep.
    """
    return add_noise(predicted_clean(x, epsilon, t), epsilon, 0)


def ddim_timesteps(steps: int) -> tuple[int, ...]:
    """Return `steps` descending timesteps from 999, evenly spaced; diffusers calls this spacing "trailing"."""
    return tuple(round(TRAINING_TIMESTEPS - i * TRAINING_TIMESTEPS / steps) - 1 for i in range(steps))


def ddim(predict: Predict, start: Tensor, steps: int) -> Tensor:
    """Sample by deterministic DDIM from the noise `start`; the last step returns the predicted clean latents."""
    times = ddim_timesteps(steps)
    x = start
    for i, t in enumerate(times):
        epsilon = predict(x, t)
        x = predicted_clean(x, epsilon, t)
        if i + 1 < len(times):
            x = add_noise(x, epsilon, times[i + 1])
    return x
