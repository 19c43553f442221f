"""What learners of a codebook share: the straight-through step, its loss, and revival of dead codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lactok.nn.quantize import VectorQuantizer
from lactok.training.dead_codes import Revival
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class CodebookRecipe(Recipe):
    """Keys of a trained codebook.

    Attributes:
        codebook: weight of the codebook and commitment loss.
        revive_every: steps between revivals of dead codes.
        revive_after: steps without use after which a code is dead.
        revive_until: part of the steps after which codes are left alone.
    """

    codebook: float = 1.0
    revive_every: int = 50
    revive_after: int = 200
    revive_until: float = 0.8


class CodebookLearner(Learner):
    """A learner with a table of codes; after its first step the codes lie on features of the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.revival: Revival | None = None  # none where the table is frozen
        self.table = ""
        self.seen: list[tuple[Tensor, Tensor]] = []  # features and ids of this step, in parts

    def watch(self, recipe: CodebookRecipe, quantizer: VectorQuantizer, name: str) -> None:
        """Look after this quantizer, whose codes are the learned parameter `name`."""
        until = recipe.revive_until * recipe.steps
        self.revival = Revival(quantizer, recipe.revive_every, recipe.revive_after, until, recipe.seed)
        self.revival.last_used.fill_(-recipe.revive_after)  # dead from the start: step 0 moves all onto features
        self.table = name

    def quantized(self, z: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (B, C, h, w) -> codes with a straight-through gradient, and the loss `codebook` with `alive`."""
        assert self.revival is not None
        quantizer = self.revival.quantizer
        ids = quantizer.encode(z)
        self.seen.append((z.detach().float().permute(0, 2, 3, 1).flatten(0, 2), ids))
        parts = {"codebook": quantizer.loss(z, ids), "alive": torch.tensor(self.revival.alive(step))}
        return quantizer.straight_through(z, ids), parts

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Revival, the same in all processes."""
        from accelerate.utils import gather

        if self.revival is None:
            return {}
        features, ids = (torch.cat(tensors) for tensors in zip(*self.seen, strict=True))
        self.seen.clear()
        self.revival.note(gather(ids), step)
        if step and not self.revival.due(step):
            return {}
        return {self.table: self.revival.revive(gather(features), step)}

    def remembered(self) -> dict[str, Tensor]:
        return {} if self.revival is None else {"last_used": self.revival.last_used}
