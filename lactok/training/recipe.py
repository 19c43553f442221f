"""What every recipe has: the data, the steps, the learning rate, and what is written when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lactok.config import Config
from lactok.errors import UserError
from lactok.training.data import Photos, crops

# keys of a recipe that change where and how often something is written, not what is learned
_OUTWARD = (
    "data",
    "log_every",
    "eval_every",
    "save_every",
    "suite_every",
    "suite_metrics",
    "accumulate",
    "checkpointing",
    "fsdp",
    "workers",
)


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """What every recipe has; the TOML files in `configs/` hold these keys and those of the trainer.

    Attributes:
        data: a folder of pictures or of webdataset shards, or shards by name, glob or brace pattern.
        batch: images a step, over all processes and all accumulated parts.
        crop: side of the pictures in pixels.
        scale: range of the shorter side that a photograph is brought to before it is cropped.
        variants: crops that are made of each photograph; they come again every `variants` epochs, and what frozen
            networks make of them is kept in memory. 0: always new ones.
        schedule: "cosine" to zero, or "constant", after `warmup` steps.
        average: decay of the averaged weights that are evaluated and exported.
        accumulate: parts of a process's share of the batch, computed one after the other.
        precision: "no" or "bf16".
        checkpointing: recompute activations in the backward pass instead of keeping them.
        fsdp: spread the weights over the processes, frozen ones included, instead of a copy on each.
        suite_every: steps between runs of the reconstruction suite on the held-out pictures, for trainings of a
            tokenizer; 0: never.
        suite_metrics: of the suite: default, all, or keys separated by commas.
    """

    name: str
    data: str
    steps: int
    batch: int
    crop: int
    scale: tuple[int, int]
    variants: int = 0
    held_out: int = 50
    seed: int = 0
    peak_lr: float = 1e-4
    warmup: int = 100
    schedule: str = "cosine"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    average: float = 0.999
    accumulate: int = 1
    precision: str = "no"
    checkpointing: bool = False
    fsdp: bool = False
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 100
    suite_every: int = 0
    suite_metrics: str = "default"

    def __post_init__(self) -> None:
        if self.precision not in ("no", "bf16"):
            raise UserError(f"precision = {self.precision!r}: no or bf16")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"schedule = {self.schedule!r}: cosine or constant")
        if min(self.steps, self.batch, self.accumulate) < 1 or len(self.scale) != 2:
            raise UserError("steps, batch and accumulate are at least 1; scale is two numbers")

    @property
    def batches(self) -> tuple[int, ...]:
        """Every size of batch that comes."""
        return (self.batch,)

    def batch_at(self, step: int) -> int:
        """Images of a step."""
        return self.batch

    def pictures(self, photos: Photos, step: int, positions: range, out: Path) -> Tensor:
        """What the learner gets of some positions of the run: (len(positions), 3, S, S) in [-1, 1].

        Args:
            out: where broken pictures are named.
        """
        return crops(photos, positions, self.crop, self.scale, self.seed, out, self.variants)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step: a linear warm-up to the peak, then a cosine to zero, or constant."""
        if self.schedule == "constant":
            return self.peak_lr * min(1.0, (step + 1) / max(1, self.warmup))
        if step < self.warmup:
            return self.peak_lr * (step + 1) / self.warmup
        return self.peak_lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    @property
    def digest(self) -> str:
        """Of everything that determines the result; a checkpoint of another recipe is refused."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in _OUTWARD}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
