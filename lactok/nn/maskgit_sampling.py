"""How TiTok's generators choose ids: all are masked at first, and at each step the surest predictions are kept.

Source: bytedance/1d-tokenizer `modeling/maskgit.py`; Chang et al. 2022, arXiv 2202.04200.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Decay = Literal["constant", "linear", "power-cosine"]
# (name of the draws, shape of one image's) -> numbers from 0 to 1, (B, *shape)
Uniform = Callable[[str, tuple[int, ...]], Tensor]
# (ids (B, N), labels dropped?) -> logits (B, N, codes)
Predict = Callable[[Tensor, bool], Tensor]


@dataclass(frozen=True)
class MaskGITSampling:
    """How ids are chosen.

    Attributes:
        steps: number of steps.
        guidance: scale of classifier-free guidance at the end. Quirk of the original: with "constant" and "linear"
            decay, 0 is no guidance; with "power-cosine", 1 is.
        decay: how the scale grows over the steps.
        power: exponent of "power-cosine".
        temperature: scale of the noise at the start; it falls to 0 linearly.
        annealing: whether logits are also divided by a temperature that falls from 1.3 to 0.5.
    """

    steps: int = 8
    guidance: float = 4.5
    decay: Decay = "linear"
    power: float = 3.0
    temperature: float = 9.5
    annealing: bool = True


def guided(predict: Predict, ids: Tensor, step: int, how: MaskGITSampling) -> Tensor:
    """Return the logits of a step after guidance and the falling temperature, (B, N, codes).

    Args:
        predict: the network.
        ids: (B, N), the mask's id where an id is not chosen yet.
        step: number of the step, from 0 on.
        how: guidance and temperature.
    """
    done = step / how.steps
    conditional = predict(ids, False)
    if how.decay == "power-cosine":
        scale = 1 + (how.guidance - 1) * (1 - math.cos(math.pi * done**how.power)) / 2
        without = predict(ids, True)
        logits = without + (conditional - without) * scale
    else:
        scale = how.guidance * done if how.decay == "linear" else how.guidance
        logits = conditional
        if scale != 0:
            logits = conditional + (conditional - predict(ids, True)) * scale
    if how.annealing:
        logits = logits / (0.5 + 0.8 * (1 - (step + 1) / how.steps))
    return logits


def gumbel(uniform: Tensor) -> Tensor:
    """Turn numbers from 0 to 1 into Gumbel noise, as the original does."""
    return -(-uniform.clamp(min=1e-20).log()).clamp(min=1e-20).log()


def sample(
    predict: Predict,
    uniform: Uniform,
    shape: tuple[int, int],
    mask_id: int,
    how: MaskGITSampling,
    seen: Callable[[int, Tensor, Tensor], None] = lambda step, logits, ids: None,
) -> Tensor:
    """Return the ids of images.

    Args:
        predict: the network.
        uniform: draws by the name of their use: "ids 0", "confidence 0", "ids 1", ...
        shape: number of images and of ids in each, (B, N).
        mask_id: the id that stands for one that is not chosen yet.
        how: steps, guidance and temperatures.
        seen: is called after each step with its number, the logits and the ids.

    Returns:
        (B, N) int64.
    """
    ids = torch.full(shape, mask_id)
    for step in range(how.steps):
        ratio = (step + 1) / how.steps
        noise = how.temperature * (1 - ratio)
        logits = guided(predict, ids, step, how)
        ids, device = ids.to(logits.device), logits.device
        unknown = ids == mask_id
        draws = gumbel(uniform(f"ids {step}", tuple(logits.shape[1:])).to(device))
        proposed = torch.where(unknown, (logits + noise * draws).argmax(-1), ids)
        # confidence is the logit itself, without the noise of the choice but with noise of its own
        confidence = logits.gather(-1, proposed[..., None])[..., 0].masked_fill(~unknown, torch.inf)
        confidence = confidence + noise * gumbel(uniform(f"confidence {step}", shape[1:]).to(device))
        ids = proposed
        if step < how.steps - 1:
            # the original counts on the first image; the count is the same for all
            keep_masked = math.floor(shape[1] * math.acos(ratio) / (math.pi / 2))
            keep_masked = max(1, min(int(unknown[0].sum()) - 1, keep_masked))
            cut = confidence.sort(-1).values[:, keep_masked - 1 : keep_masked]
            ids = ids.masked_fill(confidence <= cut, mask_id)
        seen(step, logits, ids)
    return ids
