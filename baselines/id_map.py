"""What tokenizers have in common whose ids are a square map of an image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lactok.specs import TokenizerSpec
from lactok.tokenizer import Tokenizer


class MapTokenizer(Tokenizer):
    """A network whose ids are a square map, read row by row.

    Args:
        spec: what it is.
        model: its `encode` takes images (B, 3, S, S) in [-1, 1] and returns ids (B, h, h), its `decode` does the
            reverse, and `config.downsampling` is S / h.
    """

    model: Any

    def __init__(self, spec: TokenizerSpec, model: nn.Module):
        super().__init__(spec)
        self.model = model

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1).flatten(1)  # (B, h * h)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        side = (self.spec.input_size or 0) // self.model.config.downsampling
        return (self.model.decode(ids.unflatten(1, (side, side))) + 1) / 2
