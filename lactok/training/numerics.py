"""Numerics of a training: deterministic gradients on a CPU, float32 group norms under autocast, seeded decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class Float32GroupNorm(nn.GroupNorm):
    """A group norm that computes in float32 under autocast and returns the dtype of its input.

    CUDA's autocast does this by itself; on a CPU, the gradient of the norm takes four times as long in bfloat16.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, ...)."""
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


def use_float32_norms(module: nn.Module) -> None:
    """Replace every group norm inside `module` by a `Float32GroupNorm` with the same parameters and the same name."""
    for name, part in list(module.named_modules()):
        if type(part) is nn.GroupNorm:
            with torch.device("meta"):
                norm = Float32GroupNorm(part.num_groups, part.num_channels, part.eps, part.affine)
            norm.weight, norm.bias = part.weight, part.bias
            norm.train(part.training)
            module.set_submodule(name, norm)


def happens(probability: float, seed: int, event: str, *more: object) -> bool:
    """Decide by a seed whether a random event happens: the same seed always gives the same decision.

    Args:
        probability: probability of the event, in steps of 1/1000.
        seed: seed of an image or of the run.
        event: name of the event; different events are decided independently of each other.
        more: whatever else the decision depends on, such as the step.
    """
    return seed_of(seed, event, *more) % 1000 < 1000 * probability
