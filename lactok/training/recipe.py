"""The keys that every recipe has: the data, the steps, the optimizer, and when logs and checkpoints are written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lactok.config import Batch, Beta, Config, Count, Loaders, Positive, Rate, Seed, Share, Side, Weight, Whole
from lactok.errors import UserError, unknown
from lactok.training.data import Photos, crops

# keys that the digest leaves out: they change where, how fast and how often something is done, not what is learned
_NOT_IN_DIGEST = (
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
    "loaders",
)


_NAME = re.compile(r"[\w+-][\w.+-]{0,99}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """The keys of every recipe; the TOML files in `configs/` hold these and the keys of their trainer.

    Attributes:
        name: name of the run, of its folder and of the weight file that it writes.
        data: a folder of images or of webdataset shards, or shards by name, glob or brace pattern.
        steps: number of steps.
        batch: images per step, over all processes and all accumulated parts.
        crop: side in pixels of the crops that the networks are trained on.
        scale: range of the shorter side in pixels to which a photograph is resized before it is cropped.
        variants: number of different crops of each photograph. They repeat every `variants` epochs, and the outputs of
            frozen networks for them are kept in memory. 0: every crop is a new one.
        held_out: number of photographs that are held out for evaluation.
        seed: seed of all random numbers.
        peak_lr: the highest learning rate.
        warmup: number of steps over which the learning rate grows to `peak_lr`.
        schedule: the learning rate after the warm-up: "cosine", down to zero, or "constant".
        betas: the two betas of AdamW.
        weight_decay: the weight decay of AdamW.
        clip: the largest norm of the gradient; larger ones are scaled down to it.
        average: decay of the exponential moving average of the weights, which is evaluated and exported; 0: no average
            is kept, and the weights themselves are evaluated and exported.
        accumulate: number of parts into which each process divides its share of the batch, to save memory.
        precision: autocast of training and evaluation: "no" or "bf16".
        checkpointing: whether to recompute activations in the backward pass instead of keeping them.
        fsdp: whether to shard the weights over the processes, frozen ones included, instead of copying them to each.
        loaders: number of threads in which each process loads pictures, and of batches that they load ahead; 0: a step
            loads its own. The pictures are the same for any number.
        log_every: number of steps between lines of the log.
        eval_every: number of steps between evaluations on the held-out photographs.
        save_every: number of steps between checkpoints.
        suite_every: number of steps between runs of the reconstruction suite on the held-out photographs, for a
            training of a tokenizer; 0: never.
        suite_metrics: metrics of the suite: "default", "all", or keys separated by commas.
    """

    name: str
    data: str
    steps: Count
    batch: Batch
    crop: Side
    scale: tuple[Side, Side]
    variants: Whole = 0
    held_out: Count = 50
    seed: Seed = 0
    peak_lr: Rate = 1e-4
    warmup: Whole = 100
    schedule: str = "cosine"
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: Weight = 0.0
    clip: Positive = 1.0
    average: Share = 0.999
    accumulate: Count = 1
    precision: str = "no"
    checkpointing: bool = False
    fsdp: bool = False
    loaders: Loaders = 2
    log_every: Count = 20
    eval_every: Count = 500
    save_every: Count = 100
    suite_every: Whole = 0
    suite_metrics: str = "default"

    def __post_init__(self) -> None:
        if self.precision not in ("no", "bf16"):
            raise UserError(f"precision = {self.precision!r}: no or bf16")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"schedule = {self.schedule!r}: cosine or constant")
        if min(self.steps, self.batch, self.accumulate) < 1:
            raise UserError("steps, batch and accumulate are at least 1")
        if len(self.name) > 100:
            raise UserError(f"name = {self.name[:40]!r}...: {len(self.name):,} characters, 100 at most")
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"name = {self.name[:40]!r}: letters, digits and . _ + - alone, as a run's folder is named so"
            )
        if self.peak_lr * self.weight_decay >= 1:
            raise UserError(f"weight_decay = {self.weight_decay} times peak_lr = {self.peak_lr} is 1 or more")
        check_scale(self.crop, self.scale)

    @property
    def batches(self) -> tuple[int, ...]:
        """All batch sizes that occur in the training."""
        return (self.batch,)

    def batch_at(self, step: int) -> int:
        """Return the batch size of a step."""
        return self.batch

    def pictures(self, photos: Photos, step: int, positions: range, out: Path) -> Tensor:
        """Return the training images at some positions of the run, (len(positions), 3, S, S) in [-1, 1].

        Args:
            photos: the data set.
            step: the step that the positions belong to.
            positions: positions in the run; see `lactok.training.data.crops`.
            out: the run's folder, in which broken files are listed.
        """
        return crops(photos, positions, self.crop, self.scale, self.seed, out, self.variants)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up to the peak, then a cosine to zero or a constant."""
        if self.schedule == "constant":
            return self.peak_lr * min(1.0, (step + 1) / max(1, self.warmup))
        if step < self.warmup:
            return self.peak_lr * (step + 1) / self.warmup
        return self.peak_lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    @property
    def digest(self) -> str:
        """The sha256 of all keys that determine the result; a checkpoint with another digest is refused."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in _NOT_IN_DIGEST}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_scale(crop: int, scale: tuple[int, int]) -> None:
    """Raise UserError unless `scale` is a range of sides from which crops of this side can be cut."""
    if len(scale) != 2 or not crop <= scale[0] <= scale[1]:
        raise UserError(f"scale = {list(scale)}: two numbers, the smaller one first, from crop = {crop} on")


def check_begins(table: str, shape: object, start: str) -> None:
    """Raise a UserError if neither a network's shape nor weights to start from are given.

    Args:
        table: the name of the shape's table in a recipe.
        shape: the shape, or None.
        start: the weights, or "".
    """
    if shape is None and not start:
        raise UserError(f"[{table}], the shape of the network, is missing; or name weights to go on from as `start`")


def check_learns(**weights: float) -> None:
    """Raise UserError if the weights of all parts of a loss are 0, so that nothing would be learned."""
    if not any(weights.values()):
        raise UserError(f"{' and '.join(weights)} are all 0, so that nothing would be learned; give one a weight")


def check_lpips_net(name: str) -> None:
    """Raise UnknownName if `name` is not a network of LPIPS."""
    if name not in ("alex", "vgg"):
        raise unknown("lpips_net", name, ("alex", "vgg"))
