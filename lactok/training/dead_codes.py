"""Dead-code revival: a code that no image has used for many steps is moved onto a feature of the current batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.quantize import VectorQuantizer


class DeadCodeRevival:
    """Records when each code was last used and moves the dead ones.

    Args:
        quantizer: the quantizer that holds the N codes.
        every: number of steps between revivals.
        after: number of steps without use after which a code is dead.
        until: step from which on dead codes are no longer revived.
        seed: seed of the choice of features.

    Attributes:
        last_used: the step at which each code was last used, (N,) int64; a checkpoint must keep it.
    """

    def __init__(self, quantizer: VectorQuantizer, every: int, after: int, until: float, seed: int):
        self.quantizer, self.every, self.after, self.until, self.seed = quantizer, every, after, until, seed
        weight = quantizer.embedding.weight
        self.last_used = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)

    def record_use(self, ids: Tensor, step: int) -> None:
        """Record that the codes of `ids`, of any shape, were used at a step."""
        self.last_used = self.last_used.to(ids.device)
        self.last_used[ids.flatten()] = step

    def due(self, step: int) -> bool:
        """Return whether dead codes are to be revived after a step."""
        return step % self.every == 0 and 0 < step < self.until

    def alive(self, step: int) -> float:
        """Return the share of codes that are not dead, 0 to 1."""
        return float((self.last_used > step - self.after).float().mean())

    @torch.no_grad()
    def revive(self, features: Tensor, step: int) -> Tensor:
        """Move dead codes onto randomly chosen features (n, C), no two codes onto the same one.

        Returns:
            The ids of the codes that moved, (m,) int64; m is at most n.
        """
        dead = (self.last_used <= step - self.after).nonzero().flatten()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        dead = dead[torch.randperm(len(dead), generator=generator)[: len(features)]]
        chosen = torch.randperm(len(features), generator=generator)[: len(dead)]
        codes = features.detach().float()[chosen]
        if self.quantizer.l2_norm:
            codes = F.normalize(codes, dim=-1)
        weight = self.quantizer.embedding.weight
        weight[dead] = codes.to(weight)
        self.last_used[dead] = step
        return dead


def reset_moments(optimizer: torch.optim.Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set the optimizer's moments of some rows (m,) of a parameter to zero, since these rows were overwritten."""
    for value in optimizer.state.get(parameter, {}).values():
        if value.shape == parameter.shape:
            value[rows] = 0
