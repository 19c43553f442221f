"""Few-step samplers of an epsilon-predicting diffusion model: TLCM's steps, Hyper-SD's one step, DDIM.

Source: LaCTok's `diffusion_pipeline_tlcm.py` (TLCM, Xie et al. 2024, arXiv 2406.05768), the Hyper-SD model card (Ren et
al. 2024, arXiv 2404.13686), Song et al. 2020, arXiv 2010.02502. All share SDXL's noise schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lactok.errors import UserError, unknown

Predict = Callable[[Tensor, int], Tensor]  # (noised latents (B, C, h, w), timestep) -> epsilon of the same shape

# linspace(999, 0, 9) cut to whole numbers (not rounded), of which each number of steps takes some
_GRID = (999, 874, 749, 624, 499, 374, 249, 124)
TLCM = {
    steps: tuple(_GRID[i] for i in picks)
    for steps, picks in {1: (0,), 2: (0, 4), 3: (0, 4, 7), 4: (0, 2, 4, 7)}.items()
}
HYPER_SD = (800,)
NAMES = ("tlcm", "hyper-sd", "ddim")
STEPS = 1000


@lru_cache(maxsize=1)
def alphas_cumprod() -> Tensor:
    """SDXL's schedule (1000,) float32: betas are squares of a line from sqrt(0.00085) to sqrt(0.012)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float32, device="cpu") ** 2
    return torch.cumprod(1 - betas, 0)


def _level(t: int | Tensor, like: Tensor) -> Tensor:
    """Share of signal at a timestep, shaped to multiply (B, C, h, w)."""
    return alphas_cumprod()[torch.as_tensor(t).cpu()].to(like).view(-1, 1, 1, 1)


def add_noise(clean: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
    """sqrt(a_t) clean + sqrt(1 - a_t) noise; t is one timestep or (B,) of them."""
    a = _level(t, clean)
    return a.sqrt() * clean + (1 - a).sqrt() * noise


def clean_of(x: Tensor, epsilon: Tensor, t: int | Tensor) -> Tensor:
    """The clean latents that noised ones and their predicted noise imply: (x - sqrt(1 - a_t) eps) / sqrt(a_t)."""
    a = _level(t, x)
    return (x - (1 - a).sqrt() * epsilon) / a.sqrt()


def consistency(predict: Predict, noises: Sequence[Tensor], times: Sequence[int]) -> Tensor:
    """TLCM and Hyper-SD: predict the clean latents, add fresh noise for the next time, predict again.

    Args:
        noises: the start and one draw for each further time, (B, C, h, w) each.
        times: descending.

    Returns:
        The last prediction of the clean latents: no noise is added after it.
    """
    x = noises[0]
    clean = x
    for i, t in enumerate(times):
        if i:
            x = add_noise(clean, noises[i], t)
        clean = clean_of(x, predict(x, t), t)
    return clean


def times_of(sampler: str, steps: int) -> tuple[int, ...]:
    """The descending timesteps of a sampler by name.

    Raises:
        UserError: not a sampler, or none with so many steps.
    """
    if sampler not in NAMES:
        raise unknown("sampler", sampler, NAMES)
    if sampler == "ddim":
        return ddim_times(steps)
    tables = TLCM if sampler == "tlcm" else {1: HYPER_SD}
    if steps not in tables:
        raise UserError(f"{sampler} has no table of {steps} steps, only of {', '.join(map(str, tables))}")
    return tables[steps]


def sample(predict: Predict, draw: Callable[[str], Tensor], sampler: str, steps: int) -> Tensor:
    """Clean latents by a sampler's name.

    Args:
        draw: standard normal noise (B, C, h, w) of a named stream: "start", "renoise 1", ...

    Raises:
        UserError: not a sampler, or none with so many steps.
    """
    times = times_of(sampler, steps)
    if sampler == "ddim":
        return ddim(predict, draw("start"), steps)
    return consistency(predict, [draw(f"renoise {i}" if i else "start") for i in range(len(times))], times)


def tcd_step(x: Tensor, epsilon: Tensor, t: int) -> Tensor:
    """One step of TCD with eta 1 to time 0, as the Hyper-SD LoRA's model card runs it.

    Quirk: time 0 is not clean, a_0 = 0.99915, so some of the predicted noise stays.
    """
    return add_noise(clean_of(x, epsilon, t), epsilon, 0)


def ddim_times(steps: int) -> tuple[int, ...]:
    """`steps` timesteps from 999 down, evenly spaced backwards ("trailing")."""
    return tuple(round(STEPS - i * STEPS / steps) - 1 for i in range(steps))


def ddim(predict: Predict, start: Tensor, steps: int) -> Tensor:
    """Deterministic DDIM; the last step returns the prediction of the clean latents."""
    times = ddim_times(steps)
    x = start
    for t, following in zip(times, (*times[1:], None), strict=True):
        epsilon = predict(x, t)
        clean = clean_of(x, epsilon, t)
        x = clean if following is None else add_noise(clean, epsilon, following)
    return x
