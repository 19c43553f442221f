"""The loop that every trainer shares: recipe, exact resume, several processes, averaged weights, curve and pictures.

A step depends on the recipe, its number and nothing else: batches are positions in seeded permutations and all noise
comes from (seed, step, position). A killed run therefore goes on bit for bit, and processes that share a batch see what
one process with the whole batch sees.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lactok.errors import UserError
from lactok.randomness import seed_of
from lactok.training import checkpoint, distributed, numerics, validation
from lactok.training.data import Photos
from lactok.training.dead_codes import forget
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe
from lactok.training.record import Record

if TYPE_CHECKING:
    from accelerate import Accelerator

R = TypeVar("R", bound=Recipe)


class Trainer(Generic[R]):
    """One training run in a folder: `state.safetensors`, `curve.jsonl`, pictures, the exported weights."""

    def __init__(self, recipe: R, learner: Learner, out: Path, accelerator: Accelerator):
        self.recipe, self.learner, self.out, self.accelerator = recipe, learner, out, accelerator
        odd = [batch for batch in recipe.batches if batch % (accelerator.num_processes * recipe.accumulate)]
        if odd:
            raise UserError(
                f"batch = {odd[0]} does not divide into {accelerator.num_processes} processes with accumulate = "
                f"{recipe.accumulate}"
            )
        if recipe.suite_every and not isinstance(learner, validation.Reconstructs):
            raise UserError(f"{recipe.name}: suite_every is for trainings of a tokenizer, leave it out")
        out.mkdir(parents=True, exist_ok=True)
        with distributed.main_first(accelerator):
            self.photos = self.find_photos()
            self.data = self.photos.digest()
        if accelerator.is_main_process:
            (out / "held-out.txt").write_text("".join(f"{p.resolve()}\n" for p in self.photos.held_out))
        if not learner.learned():
            raise UserError(f"{recipe.name}: nothing is left to learn, every part is frozen")
        if recipe.precision == "bf16":
            numerics.use_float32_norms(learner)
        self.module: nn.Module
        if recipe.fsdp:
            distributed.shard(learner, accelerator)
            self.module = learner
        else:
            if learner.channels_last:
                learner.to(memory_format=torch.channels_last)
            self.module = accelerator.prepare(learner)
        self.learned = learner.learned()
        self.average = {k: p.detach().clone() for k, p in self.learned.items()}
        self.optimizer = accelerator.prepare(torch.optim.AdamW(self._groups(), lr=recipe.peak_lr, betas=recipe.betas))
        self.step = 0
        self.resume()
        self.record = Record(out, self.step, accelerator.is_main_process)

    def _groups(self) -> list[dict[str, Any]]:
        decayed = [p for k, p in self.learned.items() if self.learner.decayed(k, p)]
        rest = [p for k, p in self.learned.items() if not self.learner.decayed(k, p)]
        groups = [{"params": decayed, "weight_decay": self.recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [g for g in groups if g["params"]]

    def find_photos(self) -> Photos:
        return Photos.of(self.recipe.data, self.recipe.held_out, self.out)

    # -- checkpoints

    @property
    def state_path(self) -> Path:
        return self.out / "state.safetensors"

    def resume(self) -> None:
        if not self.state_path.exists():
            return
        tensors, meta = checkpoint.load_state(self.state_path)
        if meta["digest"] != self.recipe.digest:
            raise UserError(f"{self.state_path} belongs to another recipe; choose another `out` or delete it")
        if meta.get("data", self.data) != self.data:
            raise UserError(
                f"{self.state_path} was trained on other pictures than {self.recipe.data} holds now; bring them back, "
                "choose another `out`, or delete it"
            )
        stored = checkpoint.part("learned", tensors)
        if stored.keys() != self.learned.keys():
            odd = sorted(stored.keys() ^ self.learned.keys())
            raise UserError(f"{self.state_path} holds other weights than this recipe learns ({odd[0]}, ...)")
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(distributed.like(stored[name], parameter))
        average = checkpoint.part("average", tensors)
        self.average = {k: distributed.like(average[k], p) for k, p in self.learned.items()}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = checkpoint.part("optimizer", tensors)
        state = {k: distributed.like(v, parameters[int(k.partition(".")[0])]) for k, v in state.items()}
        checkpoint.load_optimizer(self.optimizer, state)
        memory = checkpoint.part("remembered", tensors)
        for name, tensor in self.learner.remembered().items():
            tensor.copy_(memory[name])
        self.step = meta["step"]
        self.accelerator.print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        """By the main process; a sharded network needs all of them to put its weights together."""
        main = self.accelerator.is_main_process
        if not main and not self.recipe.fsdp:
            return
        tensors = checkpoint.prefixed("learned", self.learned) | checkpoint.prefixed("average", self.average)
        tensors |= checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer))
        tensors |= checkpoint.prefixed("remembered", self.learner.remembered())
        tensors = distributed.whole(tensors, keep=main)
        if main:
            meta = {"step": self.step, "digest": self.recipe.digest, "data": self.data, "name": self.recipe.name}
            checkpoint.save_state(self.state_path, tensors, meta)

    # -- a step

    def parts(self, step: int) -> list[range]:
        """This process's positions of a step's batch, one range for each accumulated part."""
        recipe, accelerator = self.recipe, self.accelerator
        batch = recipe.batch_at(step)
        size = batch // (accelerator.num_processes * recipe.accumulate)
        first = step * batch + accelerator.process_index * size * recipe.accumulate
        return [range(first + i * size, first + (i + 1) * size) for i in range(recipe.accumulate)]

    def pictures(self, positions: range) -> Tensor:
        """What the learner gets of some positions of the run, see `Recipe.pictures`."""
        return self.recipe.pictures(self.photos, self.step, positions, self.out)

    def train_step(self) -> dict[str, float]:
        recipe = self.recipe
        lr = recipe.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for i, positions in enumerate(parts := self.parts(self.step)):
            images = self.pictures(positions)
            seeds = torch.tensor([seed_of(recipe.seed, "train", p) for p in positions])
            last = i == len(parts) - 1
            with self.accelerator.no_sync(self.module) if not last and not recipe.fsdp else nullcontext():
                images = images.to(self.accelerator.device)
                if self.learner.channels_last:
                    images = images.contiguous(memory_format=torch.channels_last)
                with numerics.repeatable(self.accelerator.device):
                    loss, found = self.module(images, seeds, self.step)
                    self.accelerator.backward(loss / len(parts))
            for key, value in ({"loss": loss} | found).items():
                sums[key] = sums.get(key, torch.zeros(())) + value.detach().float().cpu() / len(parts)
        means = self.accelerator.reduce(torch.stack([*sums.values()]).to(self.accelerator.device), "mean")
        values = dict(zip(sums, means.tolist(), strict=True))
        self._check_finite(values["loss"])  # the same on all processes, so that all stop
        norm = self.accelerator.clip_grad_norm_(self.learned.values(), recipe.clip)
        self.optimizer.step()
        with torch.no_grad():
            for name, rows in self.learner.after_step(self.step).items():
                self.average[name][rows] = self.learned[name][rows].to(self.average[name])
                forget(self.optimizer, self.learned[name], rows)
        self._update_average()
        self.step += 1
        return values | {"norm": float(distributed.whole({"norm": norm}, keep=True)["norm"]), "lr": lr}

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            kept = f"the last good checkpoint is {self.state_path}" if self.state_path.exists() else "nothing was saved"
            raise UserError(
                f"the loss is {loss} at step {self.step}; stopped, {kept}; resume with a lower peak_lr in a new "
                "recipe or with precision = 'no'"
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))  # a short run has an average too
        get_ema_multi_avg_fn(decay)([*self.average.values()], [*self.learned.values()], None)

    # -- evaluation

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self.learned.items():
            current = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(current)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the learner holds the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the learner is in eval mode with the averaged weights, and nothing has a gradient."""
        self.learner.eval()
        with self.averaged(), torch.no_grad():
            yield
        self.learner.train()

    def evaluate(self) -> None:
        from torchvision.utils import make_grid, save_image

        main = self.accelerator.is_main_process
        if not main and not self.recipe.fsdp:
            return
        with self.evaluating():
            with distributed.gathered(self.learner):
                values, pictures = self.learner.evaluate(self.photos.held_out)
            tensors = distributed.whole(self.learner.exported(), keep=main)
        if not main:
            return
        checkpoint.save_state(self.export_path, {k: v.half() for k, v in tensors.items()}, self.notes())
        grid = make_grid(pictures.float().clamp(-1, 1).cpu() / 2 + 0.5, nrow=4)
        save_image(grid, self.out / "pictures.png")
        self.record.log("held_out", self.step, values, prefix="held_out_")
        self.record.picture("held out", self.step, grid)

    def notes(self) -> dict[str, Any]:
        return {"name": self.recipe.name, "step": self.step} | self.learner.notes()

    def run_suite(self) -> None:
        """The reconstruction suite on the held-out photographs."""
        recipe, learner, main = self.recipe, self.learner, self.accelerator.is_main_process
        assert isinstance(learner, validation.Reconstructs)
        if not main and not recipe.fsdp:
            return
        out, device = self.out / "suite", self.accelerator.device
        with self.evaluating(), distributed.gathered(self.learner):
            validation.reconstruct(learner, self.photos.held_out, recipe.crop, out, self.step, device, main)
        if main:
            values = validation.score(out, self.step, recipe.crop, learner.bits, recipe.suite_metrics, device)
            self.record.log("suite", self.step, values, prefix="suite_")

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
            if done % recipe.log_every == 0:
                self.record.log("train", done, values, seconds_a_step=(time.monotonic() - started) / (done - at))
            if self._due(recipe.save_every):
                self.save()
            if self._due(recipe.eval_every):
                self.evaluate()
            if recipe.suite_every and self._due(recipe.suite_every):
                self.run_suite()
        self.record.close()
        self.accelerator.wait_for_everyone()
        self.accelerator.print(f"wrote {self.export_path}", flush=True)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.recipe.steps
