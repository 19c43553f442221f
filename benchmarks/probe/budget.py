"""The budget of the probes: the one place for what both have in common for all tokenizers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1  # raised by hand when the same budget and ids give other figures


@dataclass(frozen=True)
class Budget:
    """The sizes and the effort of both probes; no field depends on a tokenizer.

    A symbol is what the autoregressive model reads and predicts: an id, or a digit of one; see `symbols.Alphabet`.

    Attributes:
        seed: of the model's first weights and of the order of the photographs.
        steps: of training.
        step_symbols: the number of symbols that a step learns from, however long the images' ids are.
        width, depth, heads: of the model, a GPT.
        symbols: the number of symbols that its embedding and its output have.
        context: the number of symbols that it sees at most.
        learning_rate: the highest, of one cycle of AdamW.
        weight_decay: of AdamW.
        checks: how many times the validation photographs are coded during training, besides the beginning.
        validation, held_out: the number of photographs in both parts at most.
        histogram: the number of columns to which each half of the linear probe's features is hashed.
        vector: the number of columns of the mean code vector.
        penalty: the linear probe's C, the inverse of the strength of its penalty.
        iterations: of the linear probe's training at most.
        folds: of the linear probe's cross-validation.
    """

    seed: int = 0
    steps: int = 400
    step_symbols: int = 2048
    width: int = 128
    depth: int = 4
    heads: int = 4
    symbols: int = 256
    context: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    checks: int = 8
    validation: int = 64
    held_out: int = 512
    histogram: int = 4096
    vector: int = 64
    penalty: float = 10.0
    iterations: int = 300
    folds: int = 5

    def __post_init__(self) -> None:
        """Make sure that no step is without a window of symbols."""
        assert self.step_symbols >= self.context, "a step holds one window of symbols at least"

    def settings(self) -> dict[str, Any]:
        """Return all that decides the figures, for hashes and results."""
        return asdict(self) | {"version": VERSION}
