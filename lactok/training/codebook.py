"""What learners with a codebook share: quantization with a straight-through gradient, its loss, dead-code revival."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lactok.config import Count, Share, Weight, Whole
from lactok.errors import UserError
from lactok.nn.quantize import VectorQuantizer
from lactok.training.dead_codes import DeadCodeRevival
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class CodebookRecipe(Recipe):
    """The keys of a recipe that trains a codebook.

    Attributes:
        codebook: weight of the codebook and commitment loss.
        quantize_from: step from which on features are quantized. Until then the decoder gets them as they are (divided
            by their length where the codebook is), so that they learn to use all their channels; then codes are moved
            onto them.
        revive_every: number of steps between revivals of dead codes.
        revive_after: number of steps without use after which a code is dead.
        revive_until: share of all steps after which dead codes are no longer revived, 0 to 1.
    """

    codebook: Weight = 1.0
    quantize_from: Whole = 0
    revive_every: Count = 50
    revive_after: Count = 200
    revive_until: Share = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quantize_from >= self.steps:
            raise UserError(f"quantize_from = {self.quantize_from}: less than the {self.steps} steps")


class CodebookLearner(Learner):
    """A learner with a codebook; after its first step the codes are features of the first batch.

    Attributes:
        revival: moves dead codes; None while the codebook is frozen.
        codebook_name: name of the codebook among the learned parameters.
        quantize_from: the first step whose features are quantized.
        step_features: the features (n, C) of this step, one tensor per accumulated part.
        step_ids: the ids of these features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.revival: DeadCodeRevival | None = None
        self.codebook_name = ""
        self.quantize_from = 0
        self.step_features: list[Tensor] = []
        self.step_ids: list[Tensor] = []

    def track_codebook(self, recipe: CodebookRecipe, quantizer: VectorQuantizer, name: str) -> None:
        """Revive the dead codes of a quantizer, whose codebook is the learned parameter `name`."""
        until = recipe.revive_until * recipe.steps
        self.revival = DeadCodeRevival(quantizer, recipe.revive_every, recipe.revive_after, until, recipe.seed)
        # all codes count as dead, so that step 0 moves them onto features
        self.revival.last_used.fill_(-recipe.revive_after)
        self.codebook_name = name
        self.quantize_from = recipe.quantize_from

    def quantize(self, z: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Quantize features (B, C, h, w).

        Returns:
            The codes (B, C, h, w) with a straight-through gradient, or the features where they are not yet quantized;
            and the parts of the loss: `codebook`, the codebook and commitment loss, and `alive`, the share of codes
            that are not dead.
        """
        assert self.revival is not None
        quantizer = self.revival.quantizer
        self.step_features.append(z.detach().float().permute(0, 2, 3, 1).flatten(0, 2))
        if step < self.quantize_from:
            unused = quantizer.embedding.weight.sum() * 0  # with it the codebook has a gradient in all processes
            return quantizer.normalised_features(z), {"codebook": unused, "alive": torch.tensor(0.0)}
        ids = quantizer.encode(z)
        self.step_ids.append(ids)
        parts = {"codebook": quantizer.loss(z, ids), "alive": torch.tensor(self.revival.alive(step))}
        return quantizer.straight_through(z, ids), parts

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Revive dead codes by the features of all processes, so that every process moves the same codes."""
        from accelerate.utils import gather

        if self.revival is None:
            return {}
        features, ids = torch.cat(self.step_features), self.step_ids
        self.step_features = []
        self.step_ids = []
        if ids:
            self.revival.record_use(gather(torch.cat(ids)), step)
        last = step + 1 == self.quantize_from  # of the features that are not quantized: they become the codes
        if last:
            self.revival.last_used.fill_(step - self.revival.after)
        elif step < self.quantize_from or (step > 0 and not self.revival.due(step)):
            return {}
        return {self.codebook_name: self.revival.revive(gather(features), step)}

    def remembered(self) -> dict[str, Tensor]:
        """The step at which each code was last used."""
        return {} if self.revival is None else {"last_used": self.revival.last_used}
