"""The loop that every trainer shares: recipe, exact resume, several processes, averaged weights, curve and pictures.

A step depends on the recipe, its number and nothing else: batches are positions in seeded permutations and all noise
comes from (seed, step, position). A killed run therefore goes on bit for bit, and processes that share a batch see what
one process with the whole batch sees.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from lactok.errors import UserError
from lactok.noise import seed_of
from lactok.training import common
from lactok.training.data import Photos, crops

if TYPE_CHECKING:
    from accelerate import Accelerator

# keys of a recipe that change where and how often something is written, not what is learned
_OUTWARD = ("data", "log_every", "eval_every", "save_every", "accumulate", "checkpointing")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every recipe has; the TOML files in `configs/` hold these keys and those of the trainer.

    Attributes:
        batch: images a step, over all processes and all accumulated parts.
        crop: side of the pictures in pixels.
        scale: range of the shorter side that a photograph is brought to before it is cropped.
        schedule: "cosine" to zero, or "constant", after `warmup` steps.
        average: decay of the averaged weights that are evaluated and exported.
        accumulate: parts of a process's share of the batch, computed one after the other.
        precision: "no" or "bf16".
        checkpointing: recompute activations in the backward pass instead of keeping them.
    """

    name: str
    data: str
    steps: int
    batch: int
    crop: int
    scale: tuple[int, int]
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
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 100

    def __post_init__(self) -> None:
        if self.precision not in ("no", "bf16"):
            raise UserError(f"precision = {self.precision!r}: no or bf16")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"schedule = {self.schedule!r}: cosine or constant")
        if min(self.steps, self.batch, self.accumulate) < 1 or len(self.scale) != 2:
            raise UserError("steps, batch and accumulate are at least 1; scale is two numbers")

    @property
    def digest(self) -> str:
        """Of everything that determines the result; a checkpoint of another recipe is refused."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in _OUTWARD}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Learner(nn.Module):
    """The networks of a training and its loss as `forward`, so that wrappers of several processes see the loss.

    Parameters that require no gradient are frozen parts; they are neither optimized nor saved.
    """

    @abstractmethod
    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images (B, 3, S, S) in [-1, 1] and their seeds (B,) -> the loss, a mean over images, and its parts."""

    @abstractmethod
    def evaluate(self, photos: tuple[Path, ...]) -> tuple[dict[str, float], Tensor]:
        """Figures on held-out photographs, and a few pictures (N, 3, H, W) in [-1, 1]; averaged weights are in."""

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """What the package ships of it; averaged weights are in."""

    def train(self, mode: bool = True) -> Learner:
        """Training mode for what learns; frozen parts stay in eval mode (LPIPS has dropout)."""
        super().train(mode)
        for part in self.children():
            if not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self

    def learned(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Weight decay goes to matrices and kernels, not to norms and biases."""
        return parameter.ndim > 1


R = TypeVar("R", bound=Recipe)


class Trainer(Generic[R]):
    """One training run in a folder: `state.safetensors`, `curve.jsonl`, pictures, the exported weights."""

    def __init__(self, recipe: R, learner: Learner, out: Path, accelerator: Accelerator):
        self.recipe, self.learner, self.out, self.accelerator = recipe, learner, out, accelerator
        share = recipe.batch / (accelerator.num_processes * recipe.accumulate)
        if share != int(share):
            raise UserError(
                f"batch = {recipe.batch} does not divide into {accelerator.num_processes} processes with accumulate = "
                f"{recipe.accumulate}"
            )
        out.mkdir(parents=True, exist_ok=True)
        self.photos = Photos.of_folder(recipe.data, recipe.held_out)
        if accelerator.is_main_process:
            (out / "held-out.txt").write_text("".join(f"{p.resolve()}\n" for p in self.photos.held_out))
        learner.to(memory_format=torch.channels_last)  # convolutions on a CPU are up to twice as fast
        self.learned = learner.learned()
        if not self.learned:
            raise UserError(f"{recipe.name}: nothing is left to learn, every part is frozen")
        self.average = {k: p.detach().clone() for k, p in self.learned.items()}
        optimizer = torch.optim.AdamW(self._groups(), lr=recipe.peak_lr, betas=recipe.betas)
        self.step = 0
        self.module, self.optimizer = accelerator.prepare(learner, optimizer)
        self.resume()
        self.curve = common.Curve(out / "curve.jsonl", self.step)
        self.board = self._tensorboard()

    def _groups(self) -> list[dict[str, Any]]:
        decayed = [p for k, p in self.learned.items() if self.learner.decayed(k, p)]
        rest = [p for k, p in self.learned.items() if not self.learner.decayed(k, p)]
        groups = [{"params": decayed, "weight_decay": self.recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [g for g in groups if g["params"]]

    def _tensorboard(self) -> Any:
        """A writer, on the main process, where TensorBoard is installed."""
        if not self.accelerator.is_main_process or importlib.util.find_spec("tensorboard") is None:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(self.out / "tensorboard", purge_step=self.step)

    # -- checkpoints

    @property
    def state_path(self) -> Path:
        return self.out / "state.safetensors"

    def resume(self) -> None:
        if not self.state_path.exists():
            return
        tensors, meta = common.load_state(self.state_path)
        if meta["digest"] != self.recipe.digest:
            raise UserError(f"{self.state_path} belongs to another recipe; choose another --out or delete it")
        stored = common.part("learned", tensors)
        if stored.keys() != self.learned.keys():
            odd = sorted(stored.keys() ^ self.learned.keys())
            raise UserError(f"{self.state_path} holds other weights than this recipe learns ({odd[0]}, ...)")
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(stored[name])
        self.average = {k: v.to(self.learned[k].device) for k, v in common.part("average", tensors).items()}
        common.load_optimizer(self.optimizer, common.part("optimizer", tensors))
        self.step = meta["step"]
        self.accelerator.print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        tensors = common.prefixed("learned", self.learned) | common.prefixed("average", self.average)
        tensors |= common.prefixed("optimizer", common.optimizer_tensors(self.optimizer))
        meta = {"step": self.step, "digest": self.recipe.digest, "name": self.recipe.name}
        common.save_state(self.state_path, tensors, meta)

    # -- a step

    def learning_rate(self, step: int) -> float:
        recipe = self.recipe
        if recipe.schedule == "constant":
            return recipe.peak_lr * min(1.0, (step + 1) / max(1, recipe.warmup))
        return common.learning_rate(step, recipe.steps, recipe.warmup, recipe.peak_lr)

    def parts(self) -> list[range]:
        """This process's positions of the step's batch, one range for each accumulated part."""
        recipe, accelerator = self.recipe, self.accelerator
        size = recipe.batch // (accelerator.num_processes * recipe.accumulate)
        first = self.step * recipe.batch + accelerator.process_index * size * recipe.accumulate
        return [range(first + i * size, first + (i + 1) * size) for i in range(recipe.accumulate)]

    def train_step(self) -> dict[str, float]:
        recipe = self.recipe
        lr = self.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for i, positions in enumerate(parts := self.parts()):
            images = crops(self.photos, positions, recipe.crop, recipe.scale, recipe.seed, self.out)
            seeds = torch.tensor([seed_of(recipe.seed, "train", p) for p in positions])
            last = i == len(parts) - 1
            with self.accelerator.no_sync(self.module) if not last else nullcontext():
                images = images.to(self.accelerator.device, memory_format=torch.channels_last)
                loss, found = self.module(images, seeds, self.step)
                self.accelerator.backward(loss / len(parts))
            for key, value in ({"loss": loss} | found).items():
                sums[key] = sums.get(key, torch.zeros(())) + value.detach().float().cpu() / len(parts)
        self._check_finite(sums["loss"])
        norm = self.accelerator.clip_grad_norm_(self.learned.values(), recipe.clip)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return {k: float(v) for k, v in sums.items()} | {"norm": float(norm), "lr": lr}

    def _check_finite(self, loss: Tensor) -> None:
        if not math.isfinite(float(loss)):
            kept = f"the last good checkpoint is {self.state_path}" if self.state_path.exists() else "nothing was saved"
            raise UserError(
                f"the loss is {float(loss)} at step {self.step}; stopped, {kept}; resume with a lower peak_lr in a new "
                "recipe or with precision = 'no'"
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for name, parameter in self.learned.items():
            self.average[name].lerp_(parameter.detach().to(self.average[name].dtype), 1 - decay)

    # -- evaluation

    def _exchange(self) -> None:
        for name, parameter in self.learned.items():
            parameter.data, self.average[name] = self.average[name], parameter.data

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the learner holds the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def evaluate(self) -> None:
        if not self.accelerator.is_main_process:
            return
        from torchvision.utils import make_grid, save_image

        self.learner.eval()
        with self.averaged(), torch.no_grad():
            values, pictures = self.learner.evaluate(self.photos.held_out)
            tensors = {k: v.half() for k, v in self.learner.exported().items()}
            common.save_state(self.export_path, tensors, {"step": self.step})
        self.learner.train()
        grid = make_grid(pictures.float().clamp(-1, 1).cpu() / 2 + 0.5, nrow=4)
        save_image(grid, self.out / "pictures.png")
        self.curve.log(self.step - 1, **{f"held_out_{k}": v for k, v in values.items()})
        if self.board is not None:
            self.board.add_image("held out", grid, self.step)
            for key, value in values.items():
                self.board.add_scalar(f"held_out/{key}", value, self.step)

    @property
    def export_path(self) -> Path:
        return self.out / f"{self.recipe.name}.safetensors"

    def run(self) -> None:
        recipe = self.recipe
        started, at = time.monotonic(), self.step
        self.learner.train()
        while self.step < recipe.steps:
            values = self.train_step()
            done = self.step
            if done % recipe.log_every == 0 and self.accelerator.is_main_process:
                self.curve.log(done - 1, **values, seconds_a_step=(time.monotonic() - started) / (done - at))
                for key, value in values.items() if self.board is not None else ():
                    self.board.add_scalar(f"train/{key}", value, done)
            if done % recipe.save_every == 0 or done == recipe.steps:
                self.save()
            if done % recipe.eval_every == 0 or done == recipe.steps:
                self.evaluate()
        self.accelerator.wait_for_everyone()
        self.accelerator.print(f"wrote {self.export_path}", flush=True)
