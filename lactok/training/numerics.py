"""Numerics of a training: deterministic gradients on a CPU, seeded decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lactok.randomness import seed_of


@contextmanager
def repeatable(device: torch.device | str) -> Iterator[None]:
    """Make the gradients inside the block deterministic if the device is a CPU.

    Without it, several CPU threads add the gradient of an indexing operation in no fixed order. On a GPU nothing is
    changed, since some operations have no deterministic implementation there.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    fill = deterministic.fill_uninitialized_memory
    if torch.device(device).type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = False  # filling helps to find bugs, but costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        deterministic.fill_uninitialized_memory = fill


def happens(probability: float, seed: int, event: str, *more: object) -> bool:
    """Decide by a seed whether a random event happens: the same seed always gives the same decision.

    Args:
        probability: probability of the event, in steps of 1/1000.
        seed: seed of an image or of the run.
        event: name of the event; different events are decided independently of each other.
        more: whatever else the decision depends on, such as the step.
    """
    return seed_of(seed, event, *more) % 1000 < 1000 * probability
