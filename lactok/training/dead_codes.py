"""Revival of dead codes: a code that no picture has used for a while is moved onto a feature of the current batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.quantize import VectorQuantizer


class Revival:
    """Keeps when each code was last used and moves the dead ones.

    Args:
        quantizer: whose codes are looked after.
        every: steps between revivals.
        after: steps without use after which a code is dead.
        until: step from which on codes are left alone.
        seed: of the choice of features.

    Attributes:
        last_used: (N,) int64, the step at which each code was last used; a checkpoint must keep it.
    """

    def __init__(self, quantizer: VectorQuantizer, every: int, after: int, until: float, seed: int):
        self.quantizer, self.every, self.after, self.until, self.seed = quantizer, every, after, until, seed
        weight = quantizer.embedding.weight
        self.last_used = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)

    def note(self, ids: Tensor, step: int) -> None:
        """These ids were used at this step."""
        self.last_used = self.last_used.to(ids.device)
        self.last_used[ids.flatten()] = step

    def due(self, step: int) -> bool:
        return step % self.every == 0 and 0 < step < self.until

    def alive(self, step: int) -> float:
        """Share of codes that are not dead."""
        return float((self.last_used > step - self.after).float().mean())

    @torch.no_grad()
    def revive(self, features: Tensor, step: int) -> Tensor:
        """Move dead codes onto features (n, C), each onto one of its own; returns the codes that moved, (m,) int64."""
        dead = (self.last_used <= step - self.after).nonzero().flatten()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        dead = dead[torch.randperm(len(dead), generator=generator)[: len(features)]]
        chosen = torch.randperm(len(features), generator=generator)[: len(dead)]
        codes = features.detach().float()[chosen]
        weight = self.quantizer.embedding.weight
        weight[dead] = (F.normalize(codes, dim=-1) if self.quantizer.l2_norm else codes).to(weight)
        self.last_used[dead] = step
        return dead


def forget(optimizer: torch.optim.Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Clear an optimizer's moments of some rows of a parameter, which now are others."""
    for value in optimizer.state.get(parameter, {}).values():
        if value.shape == parameter.shape:
            value[rows] = 0
