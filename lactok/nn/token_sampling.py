"""How a generator chooses ids from logits: temperature, top-k, top-p, and draws that belong to one image.

Source: FoundationVision/LlamaGen `autoregressive/models/generate.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
        least = logits.topk(sampling.top_k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) > sampling.top_p
        before = torch.cat([torch.zeros_like(before[..., :1]), before[..., :-1]], -1)  # the one that exceeds stays
        logits = logits.masked_fill(torch.zeros_like(before).scatter(-1, places, before), -torch.inf)
    return logits.softmax(-1)


def waiting_times(seeds: Tensor, codes: int, number: int) -> Tensor:
    """Draw what decides which code an image takes as its id `number`, (B, codes) float32 on the CPU.

    Of codes that wait for exponential times divided by their probabilities, the first is one drawn from these
    probabilities; `torch.multinomial` draws so too.

    Args:
        seeds: (B,) int64; every id of an image has times of its own.
    """
    return -uniform(seeds, (codes,), f"id {number}").log()


def draw(probabilities: Tensor, waiting: Tensor) -> Tensor:
    """Draw an id (B,) int64 for each image from probabilities (B, codes) and waiting times (B, codes)."""
    return (probabilities / waiting).argmax(-1)


AHEAD = 4  # ids whose draws are prepared while a GPU computes


@contextmanager
def chooser(
    seeds: Tensor, codes: int, count: int, sampling: Sampling, device: torch.device
) -> Iterator[Callable[[Tensor, int], Tensor]]:
    """Yield the function that chooses ids (B,) int64 from logits (B, codes) and the number of the id.

    The draws come from the CPU, so that they are the same everywhere. For a GPU, threads prepare the next ones.

    Args:
        seeds: (B,) int64, one for each image.
        codes: number of codes.
        count: number of ids of an image; they are chosen in their order.
        sampling: temperature and filters; the likeliest id is taken where it is greedy.
        device: of the logits.
    """
    if sampling.is_greedy:
        yield lambda logits, number: filtered(logits, sampling).argmax(-1)
    elif device.type == "cpu":
        yield lambda logits, number: draw(filtered(logits, sampling), waiting_times(seeds, codes, number))
    else:
        with ThreadPoolExecutor(AHEAD) as pool:
            ready = deque(pool.submit(waiting_times, seeds, codes, number) for number in range(min(AHEAD, count)))

            def choose(logits: Tensor, number: int) -> Tensor:
                waiting = ready.popleft().result()
                if number + AHEAD < count:
                    ready.append(pool.submit(waiting_times, seeds, codes, number + AHEAD))
                return draw(filtered(logits, sampling), waiting.to(logits.device))

            yield choose
