"""The training loop that all trainers share: steps, checkpoints, distributed training, averaged weights and evaluation.

What a step computes depends only on the recipe, the data and the state of the checkpoint: batches are positions in
seeded permutations, and all noise comes from the seed, the step and the position. A killed run therefore resumes bit
for bit, and several processes that share a batch see the same images and noise as one process with the whole batch.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lactok.errors import UserError
from lactok.randomness import seed_of
from lactok.training import checkpoint, distributed, numerics, validation
from lactok.training.data import Photo, Photos
from lactok.training.dead_codes import reset_moments
from lactok.training.group_norm import use_float32_norms
from lactok.training.held_out import check_sizes, readable
from lactok.training.learner import Learner
from lactok.training.loading import Ahead
from lactok.training.recipe import Recipe
from lactok.training.record import Record
from lactok.training.unproven import never_run, parameters_of
from lactok.weights import metadata

if TYPE_CHECKING:
    from accelerate import Accelerator

R = TypeVar("R", bound=Recipe)


class Trainer(Generic[R]):
    """One training run in a folder.

    The folder holds the checkpoint `state.safetensors`, the log `curve.jsonl`, the list `held-out.txt`, images of the
    last evaluation, `pictures.png`, and the exported weights, `NAME.safetensors`. If there is a checkpoint, the run
    resumes from it.

    Args:
        recipe: the recipe.
        learner: the networks and the loss.
        out: the run's folder.
        accelerator: the accelerator of this process.

    Attributes:
        photos: the data set.
        data_digest: digest of the data set, which a checkpoint keeps.
        module: the learner, wrapped for distributed training.
        learned: the trained parameters by name.
        average: their exponential moving averages; empty where the recipe's `average` is 0.
        ahead: loads the pictures.
        step: number of finished steps.

    Raises:
        UserError: the recipe, the data or the checkpoint do not fit each other or the number of processes.
    """

    def __init__(self, recipe: R, learner: Learner, out: Path, accelerator: Accelerator):
        self.recipe, self.learner, self.out, self.accelerator = recipe, learner, out, accelerator
        self._check()
        said = never_run(parameters_of(learner), accelerator.device.type, accelerator.num_processes, recipe.fsdp)
        if said:
            accelerator.print(said, flush=True)
        out.mkdir(parents=True, exist_ok=True)
        with distributed.main_first(accelerator):
            self.photos = self.find_photos()
            self.data_digest = self.photos.digest()
            check_sizes(self.photos.train, recipe.crop)
        if accelerator.is_main_process:
            names = "".join(f"{p.resolve()}\n" for p in self.photos.held_out)
            (out / "held-out.txt").write_bytes(os.fsencode(names))
        if not learner.learned():
            raise UserError(f"{recipe.name}: nothing is left to learn, every part is frozen")
        if recipe.precision == "bf16" or learner.channels_last:
            use_float32_norms(learner)
        self.module: nn.Module
        if recipe.fsdp:
            distributed.shard(learner, accelerator)
            self.module = learner
        else:
            if learner.channels_last:
                learner.to(memory_format=torch.channels_last)
            self.module = accelerator.prepare(learner)
        self.learned = learner.learned()
        self.average = {k: p.detach().clone() for k, p in self.learned.items()} if recipe.average else {}
        self.ahead = Ahead(
            lambda step, part: recipe.pictures(self.photos, step, part, out), self._parts_from, recipe.loaders
        )
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=recipe.peak_lr, betas=recipe.betas)
        self.optimizer = accelerator.prepare(optimizer)
        self.step = 0
        self.resume()
        self.record = Record(out, self.step, accelerator.is_main_process)

    def _check(self) -> None:
        """Raise UserError if the processes do not fit, or the suite is asked for without a tokenizer."""
        recipe, processes = self.recipe, self.accelerator.num_processes
        if recipe.fsdp and processes == 1:
            raise UserError("fsdp = true spreads weights over processes, here is one: start with `accelerate launch`")
        for batch in recipe.batches:
            if batch % (processes * recipe.accumulate):
                raise UserError(
                    f"batch = {batch} does not divide into {processes} processes with accumulate = {recipe.accumulate}"
                )
        if recipe.suite_every and not isinstance(self.learner, validation.Reconstructs):
            raise UserError(f"{recipe.name}: suite_every is for trainings of a tokenizer, leave it out")

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups: with and without weight decay, none of them empty."""
        with_decay = [p for k, p in self.learned.items() if self.learner.decayed(k, p)]
        without_decay = [p for k, p in self.learned.items() if not self.learner.decayed(k, p)]
        groups = [
            {"params": with_decay, "weight_decay": self.recipe.weight_decay},
            {"params": without_decay, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def find_photos(self) -> Photos:
        """Return the data set of the recipe."""
        return Photos.of(self.recipe.data, self.recipe.held_out, self.out)

    @cached_property
    def held_out(self) -> tuple[Photo, ...]:
        """The held-out photographs that can be read; the others are named once, as broken training photographs are."""
        return readable(self.photos.held_out, self.out)

    # -- checkpoints

    @property
    def state_path(self) -> Path:
        """The file of the checkpoint."""
        return self.out / "state.safetensors"

    def resume(self) -> None:
        """Restore the state of the checkpoint, if there is one.

        Raises:
            UserError: the checkpoint is of another recipe, of other data, or of other networks.
        """
        if not self.state_path.exists():
            return
        tensors, meta = checkpoint.load_state(self.state_path)
        if not isinstance(meta, dict) or not isinstance(meta.get("step"), int) or meta.get("digest") is None:
            raise UserError(f"{self.state_path} is no checkpoint of a training; delete it to start over")
        if meta["digest"] != self.recipe.digest:
            raise UserError(f"{self.state_path} belongs to another recipe; choose another `out` or delete it")
        if meta.get("data", self.data_digest) != self.data_digest:
            raise UserError(
                f"{self.state_path} was trained on other pictures than {self.recipe.data} holds now; bring them back, "
                "choose another `out`, or delete it"
            )
        stored = checkpoint.under_prefix("learned", tensors)
        if stored.keys() != self.learned.keys():
            differing = sorted(stored.keys() ^ self.learned.keys())
            raise UserError(f"{self.state_path} holds other weights than this recipe learns ({differing[0]}, ...)")
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(distributed.shard_like(stored[name], parameter))
        average = checkpoint.under_prefix("average", tensors)
        # a checkpoint of an earlier version holds an average also where the recipe has none
        self.average = {k: distributed.shard_like(average[k], self.learned[k]) for k in self.average}
        self._resume_optimizer(checkpoint.under_prefix("optimizer", tensors))
        remembered = checkpoint.under_prefix("remembered", tensors)
        for name, tensor in self.learner.remembered().items():
            tensor.copy_(remembered[name])
        self.step = meta["step"]
        self.accelerator.print(f"resumed at step {self.step}", flush=True)

    def _resume_optimizer(self, stored: dict[str, Tensor]) -> None:
        """Restore the optimizer's state from the tensors of `checkpoint.optimizer_tensors`."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = {}
        for name, value in stored.items():
            index = int(name.partition(".")[0])
            state[name] = distributed.shard_like(value, parameters[index])
        checkpoint.load_optimizer(self.optimizer, state)

    def save(self) -> None:
        """Write the checkpoint; the main process writes, and all processes gather the weights of a sharded network."""
        main = self.accelerator.is_main_process
        if not main and not self.recipe.fsdp:
            return
        tensors = checkpoint.add_prefix("learned", self.learned) | checkpoint.add_prefix("average", self.average)
        tensors |= checkpoint.add_prefix("optimizer", checkpoint.optimizer_tensors(self.optimizer))
        tensors |= checkpoint.add_prefix("remembered", self.learner.remembered())
        tensors = distributed.gather_tensors(tensors, keep=main)
        if main:
            meta = {"step": self.step, "digest": self.recipe.digest, "data": self.data_digest, "name": self.recipe.name}
            checkpoint.save_state(self.state_path, tensors, meta)

    # -- a step

    def parts(self, step: int) -> list[range]:
        """Return this process's positions in a step's batch, one range for each accumulated part."""
        recipe, accelerator = self.recipe, self.accelerator
        batch = recipe.batch_at(step)
        size = batch // (accelerator.num_processes * recipe.accumulate)
        first = step * batch + accelerator.process_index * size * recipe.accumulate
        return [range(first + i * size, first + (i + 1) * size) for i in range(recipe.accumulate)]

    def pictures(self, positions: range) -> Tensor:
        """Return the training images of a part of this step's batch; see `Recipe.pictures`."""
        return self.ahead.get(self.step, positions)

    def _parts_from(self, first_step: int) -> Iterator[tuple[int, range]]:
        """Yield the parts of each step's batch from a step to the last one."""
        for step in range(first_step, self.recipe.steps):
            for positions in self.parts(step):
                yield step, positions

    def train_step(self) -> dict[str, float]:
        """Do one step.

        Returns:
            The means over all processes of the loss and its parts, the gradient's norm before clipping as `norm`, and
            the learning rate as `lr`.

        Raises:
            UserError: the loss is not finite.
        """
        lr = self.recipe.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        values = self._accumulate_gradients()
        self._check_finite(values["loss"])  # the mean is the same on all processes, so that all of them stop
        norm = self.accelerator.clip_grad_norm_(self.learned.values(), self.recipe.clip)
        self.optimizer.step()
        with torch.no_grad():
            for name, rows in self.learner.after_step(self.step).items():
                if name in self.average:
                    self.average[name][rows] = self.learned[name][rows].to(self.average[name])
                reset_moments(self.optimizer, self.learned[name], rows)
        self._update_average()
        self.step += 1
        values["norm"] = float(distributed.gather_tensors({"norm": norm}, keep=True)["norm"])
        values["lr"] = lr
        return values

    def _accumulate_gradients(self) -> dict[str, float]:
        """Add up the gradients of all parts of the batch; return the means of the loss and its parts."""
        sums: dict[str, Tensor] = {}
        parts = self.parts(self.step)
        for i, positions in enumerate(parts):
            images = self.pictures(positions)
            seeds = torch.tensor([seed_of(self.recipe.seed, "train", position) for position in positions])
            with self._gradient_sync(last=i == len(parts) - 1):
                images = images.to(self.accelerator.device)
                if self.learner.channels_last:
                    images = images.contiguous(memory_format=torch.channels_last)
                with numerics.repeatable(self.accelerator.device):
                    loss, loss_parts = self.module(images, seeds, self.step)
                    self.accelerator.backward(loss / len(parts))
            for key, value in ({"loss": loss} | loss_parts).items():
                sums[key] = sums.get(key, torch.zeros(())) + value.detach().float().cpu() / len(parts)
        means = self.accelerator.reduce(torch.stack([*sums.values()]).to(self.accelerator.device), "mean")
        return dict(zip(sums, means.tolist(), strict=True))

    def _gradient_sync(self, last: bool) -> AbstractContextManager[Any]:
        """Return the context of a part's backward pass: processes exchange gradients only for the last part."""
        if last or self.recipe.fsdp:  # a sharded network reduces its gradients every time
            return nullcontext()
        return self.accelerator.no_sync(self.module)

    def _check_finite(self, loss: float) -> None:
        """Raise UserError if the loss is not finite."""
        if not math.isfinite(loss):
            kept = f"the last good checkpoint is {self.state_path}" if self.state_path.exists() else "nothing was saved"
            other = " or with precision = 'no'" if self.recipe.precision != "no" else ""
            raise UserError(
                f"the loss is {loss} at step {self.step}; stopped, {kept}; resume with a lower peak_lr in a new "
                f"recipe{other}"
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving averages of the weights, if there are any."""
        if not self.average:
            return
        # the decay is lower in the first steps, so that the average of a short run is not its initial weights
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)([*self.average.values()], [*self.learned.values()], None)

    # -- evaluation

    @torch.no_grad()
    def _swap_averages(self) -> None:
        """Exchange the learned parameters with their averages, if there are any."""
        for name in self.average:
            parameter = self.learned[name]
            current = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(current)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the learner hold the averaged weights inside the block."""
        self._swap_averages()
        try:
            yield
        finally:
            self._swap_averages()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the learner in eval mode with the averaged weights inside the block, without gradients."""
        self.learner.eval()
        with self.averaged(), torch.no_grad():
            yield
        self.learner.train()

    def evaluate(self) -> None:
        """Evaluate on the held-out photographs, log the values, and write `pictures.png` and the weights in fp16.

        The processes share the photographs, see `distributed.each`, and compute in the recipe's precision.
        """
        from torchvision.utils import make_grid, save_image

        main = self.accelerator.is_main_process
        with self.evaluating():
            with distributed.unsharded(self.learner), self.accelerator.autocast():
                values, pictures = self.learner.evaluate(self.held_out)
            tensors = self.exported()
        if not main:
            return
        checkpoint.save_state(self.export_path, tensors, self.notes())
        grid = make_grid(pictures.float().clamp(-1, 1).cpu() / 2 + 0.5, nrow=4)
        save_image(grid, self.out / "pictures.png")
        self.record.log("held_out", self.step, values, prefix="held_out_")
        self.record.picture("held out", self.step, grid)

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the exported weights in fp16, on the main process; nothing on the others.

        They are copies: the learner's own hold the averaged weights only inside the block of `averaged`.
        """
        tensors = distributed.gather_tensors(self.learner.exported(), keep=self.accelerator.is_main_process)
        return {name: tensor.to(torch.float16, copy=True) for name, tensor in tensors.items()}

    def notes(self) -> dict[str, Any]:
        """Return the metadata of the exported weights: the recipe's name, the step, and the learner's notes."""
        return {"name": self.recipe.name, "step": self.step} | self.learner.notes()

    def run_suite(self) -> None:
        """Run the reconstruction suite on the held-out photographs and log its values."""
        recipe, learner, main = self.recipe, self.learner, self.accelerator.is_main_process
        assert isinstance(learner, validation.Reconstructs)
        out, device = self.out / "suite", self.accelerator.device
        with self.evaluating(), distributed.unsharded(self.learner), self.accelerator.autocast():
            validation.reconstruct(learner, self.held_out, recipe.crop, out, self.step, device, main)
        if main:
            values = validation.score(out, self.step, recipe.crop, learner.bits, recipe.suite_metrics, device)
            self.record.log("suite", self.step, values, prefix="suite_")

    @property
    def export_path(self) -> Path:
        """The file of the exported weights."""
        return self.out / f"{self.recipe.name}.safetensors"

    def run(self) -> None:
        """Train until the recipe's last step; log, save and evaluate as often as the recipe says.

        Raises:
            UserError: the loss is not finite, too many photographs are broken, or the suite failed.
        """
        try:
            self._run()
        finally:
            self.ahead.close()
        self.record.close()
        self.accelerator.wait_for_everyone()
        self.accelerator.print(f"wrote {self.export_path}", flush=True)

    def _run(self) -> None:
        """Train, log, save and evaluate until the last step's weights are written."""
        recipe = self.recipe
        start_time, start_step = time.monotonic(), self.step
        self.learner.train()
        self._catch_up()
        while self.step < recipe.steps:
            values = self.train_step()
            if self.step % recipe.log_every == 0:
                seconds_a_step = (time.monotonic() - start_time) / (self.step - start_step)
                self.record.log("train", self.step, values, seconds_a_step=seconds_a_step)
            if self._due(recipe.save_every):
                self.save()
            if self._due(recipe.eval_every):
                self.evaluate()
            if recipe.suite_every and self._due(recipe.suite_every):
                self.run_suite()

    def _catch_up(self) -> None:
        """Evaluate as is due after the checkpoint's step, if the run was killed before that was written whole."""
        recipe, record = self.recipe, self.record
        if self.step == 0:
            return
        if self._due(recipe.eval_every) and not self._on_main(
            lambda: record.has("held_out_", self.step) and self._is_exported()
        ):
            self.evaluate()
        suite_is_due = recipe.suite_every and self._due(recipe.suite_every)
        if suite_is_due and not self._on_main(lambda: record.has("suite_", self.step)):
            self.run_suite()

    def _is_exported(self) -> bool:
        """Return whether the weights of the last step are written; before that step later ones take their place."""
        if self.step < self.recipe.steps:
            return True
        return self.export_path.is_file() and metadata.notes(self.export_path).get("step") == self.step

    def _on_main(self, found: Callable[[], bool]) -> bool:
        """Return what a function finds on the main process, on all processes."""
        seen = float(self.accelerator.is_main_process and found())
        return bool(self.accelerator.reduce(torch.tensor(seen, device=self.accelerator.device), "sum"))

    def _due(self, every: int) -> bool:
        """Return whether something is due that happens every so many steps and after the last one."""
        return self.step % every == 0 or self.step == self.recipe.steps
