"""How a generator chooses ids from logits: temperature, top-k, top-p, and draws that belong to one image.

Source: FoundationVision/LlamaGen `autoregressive/models/generate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lactok.randomness import uniform


@dataclass(frozen=True)
class Sampling:
    """How ids are drawn.

    Attributes:
        guidance: scale of classifier-free guidance; 1 or less switches it off.
        temperature: logits are divided by it; 0 takes the likeliest id.
        top_k: number of the likeliest codes that may be drawn; 0 for all.
        top_p: codes may be drawn until their summed probability exceeds this, the likeliest first; 1 for all.
        interval: after this step of the loop guidance is off; -1 for never.
    """

    guidance: float = 7.5
    temperature: float = 1.0
    top_k: int = 1000
    top_p: float = 1.0
    interval: int = -1

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest id is taken."""
        return self.temperature == 0


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return the probabilities that ids are drawn from.

    Args:
        logits: (B, codes), after guidance.
        sampling: temperature, top-k and top-p, applied in this order.

    Returns:
        (B, codes), 0 for codes that are filtered out.
    """
    logits = logits / max(sampling.temperature, 1e-5)
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) > sampling.top_p
        before = torch.cat([torch.zeros_like(before[..., :1]), before[..., :-1]], -1)  # the one that exceeds stays
        logits = logits.masked_fill(torch.zeros_like(before).scatter(-1, places, before), -torch.inf)
    return logits.softmax(-1)


def draw(probabilities: Tensor, seeds: Tensor, number: int, sampling: Sampling) -> Tensor:
    """Draw an id for each image, or take the likeliest.

    Args:
        probabilities: (B, codes).
        seeds: (B,) int64.
        number: of the id in the image; every id has noise of its own.
        sampling: whether the likeliest is taken.

    Returns:
        (B,) int64.
    """
    if sampling.is_greedy:
        return probabilities.argmax(-1)
    waiting = -uniform(seeds, tuple(probabilities.shape[1:]), f"id {number}").log()  # exponential, as multinomial's
    return (probabilities / waiting.to(probabilities.device)).argmax(-1)
