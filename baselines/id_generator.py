"""What generators have in common that predict a tokenizer's ids: the tokenizer makes the image of them."""

from __future__ import annotations

import torch
from torch import Tensor

from lactok import registry
from lactok.errors import WrongValue
from lactok.specs import GeneratorSpec
from lactok.tokenizer import Generator, Tokenizer


class IdGenerator(Generator):
    """Predicts ids; the tokenizer that `spec.tokenizer` names turns them into images.

    An adapter implements `_ids` instead of `_generate`.

    Attributes:
        tokenizer: loaded by `place`.
    """

    tokenizer: Tokenizer

    def __init__(self, spec: GeneratorSpec):
        super().__init__(spec)
        if spec.tokenizer is None:
            raise WrongValue(f"{spec.name}: its spec names no tokenizer")

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move the network `self.model` to `device`, and load the tokenizer there.

        Raises:
            WeightsNotFound: the tokenizer's weights cannot be had.
        """
        self.dtype = dtype
        self.get_submodule("model").to(device)
        self.tokenizer = registry.load(str(self.spec.tokenizer), device, dtype)

    def _ids(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        """Return the ids of images, (B, L) int64, of B conditions; `seeds` are (B,) int64 on the CPU."""
        raise NotImplementedError(f"{self.spec.name} predicts no ids")

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        return self.tokenizer.decode(self._ids(conditions, seeds), seeds)
