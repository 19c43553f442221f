"""How well a small GPT predicts the ids of photographs that it has not seen, after the same training for all."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.probe.budget import Budget
from benchmarks.probe.model import Places, SmallGPT
from benchmarks.probe.symbols import Layout
from lactok.device import exact_float32
from lactok.evaluation.progress import progress

FEWEST = 10  # different photographs below which nothing is learned


@dataclass(frozen=True)
class Split:
    """Which photographs are learned from, which decide when learning has gone far enough, which are held out.

    Attributes:
        training, validation, held_out: their numbers, each in ascending order.
    """

    training: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, contents: Sequence[str], budget: Budget) -> Split:
        """Split photographs by the digests of their files: the same way for every tokenizer, copies never apart.

        A fifth of the different photographs is held out and a tenth validates, as far as the budget's numbers allow.

        Args:
            contents: the digest of each photograph's file.
            budget: the numbers at most.
        """
        different = sorted(set(contents))
        held_out = min(budget.held_out, len(different) // 5)
        validation = min(budget.validation, len(different) // 10)
        place = {digest: i for i, digest in enumerate(different)}
        places = np.array([place[digest] for digest in contents])
        return cls(
            np.flatnonzero(places >= held_out + validation),
            np.flatnonzero((places >= held_out) & (places < held_out + validation)),
            np.flatnonzero(places < held_out),
        )

    @property
    def names(self) -> list[str]:
        """The name of the part that each photograph is in."""
        found = np.full(sum(map(len, (self.training, self.validation, self.held_out))), "training  ")
        found[self.validation], found[self.held_out] = "validation", "held out"
        return [str(name).strip() for name in found]


@dataclass(frozen=True)
class Learned:
    """What a model makes of the photographs that are held out.

    Attributes:
        bits: of each photograph's ids by level, (held out, levels) float64.
        step: after how many steps it predicted the validation photographs best; that model is the one that counts.
    """

    bits: np.ndarray
    step: int


def learn(ids: np.ndarray, layout: Layout, split: Split, budget: Budget, device: str, label: str = "") -> Learned:
    """Train the model on the training photographs' ids and code those that are held out.

    Every tokenizer gets a model of the same parameters, the same steps, and in each step the same number of symbols (to
    within one window over the whole training). The model that is evaluated is the one, of those at evenly spaced steps
    from 0 on, that needs the fewest bits for the validation photographs: ids of which there are few are learned by
    heart long before the last step.

    Args:
        ids: (n, L) of all photographs.
        layout: how they are written, and their levels.
        split: which photograph is for what.
        budget: the model and its training.
        device: where it computes.
        label: what is shown as progress.
    """
    symbols = torch.from_numpy(layout.alphabet.written(ids))
    places = Places.of(layout, budget, device)
    with exact_float32(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(budget.seed)
        model = SmallGPT(budget).to(device)
        coder = Coder(model, layout, places, budget)
        best, kept, step = math.inf, copy.deepcopy(model.state_dict()), 0
        checks = {budget.steps * i // budget.checks for i in range(1, budget.checks + 1)}
        optimizer = torch.optim.AdamW(
            model.parameters(), budget.learning_rate, betas=(0.9, 0.95), weight_decay=budget.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, budget.learning_rate, total_steps=budget.steps + 1, pct_start=0.1, cycle_momentum=False
        )
        batches = coder.batches(symbols[torch.from_numpy(split.training)])
        with progress(f"{label}: autoregressive model", budget.steps, "steps") as report:
            for done in range(budget.steps + 1):
                if done in checks or done == 0:
                    bits = float(coder.bits(symbols[torch.from_numpy(split.validation)]).sum())
                    if bits < best:
                        best, kept, step = bits, copy.deepcopy(model.state_dict()), done
                if done == budget.steps:
                    break
                loss = torch.stack([coder.nats(*batch).sum() for batch in next(batches)]).sum() / budget.step_symbols
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                report(done + 1, budget.steps)
        model.load_state_dict(kept)
        found = coder.bits(symbols[torch.from_numpy(split.held_out)])
    ends = np.cumsum(np.array(layout.levels) * layout.alphabet.digits)[:-1]
    by_level = [part.sum(1) for part in np.split(found, ends, axis=1)]
    return Learned(np.stack(by_level, 1), step)


class Coder:
    """A model with what it needs to know of one tokenizer's symbols.

    Args:
        model: the model.
        layout, places: what stands where.
        budget: the sizes of batches and windows.
    """

    def __init__(self, model: SmallGPT, layout: Layout, places: Places, budget: Budget):
        self.model, self.places, self.budget, self.layout = model, places, budget, layout
        self.windows, self.length = layout.windows(budget.context), layout.window(budget.context)

    def nats(self, symbols: Tensor, start: int) -> Tensor:
        """Return minus the logarithm of the probability of each symbol, (B, T).

        Args:
            symbols: one window of several images, (B, T) int64.
            start: where in the image it begins.
        """
        symbols = symbols.to(self.places.digits.device)
        logits = self.model(symbols, self.places.window(start, self.length))
        return F.cross_entropy(logits.flatten(0, 1), symbols.flatten(), reduction="none").view_as(symbols)

    def batches(self, images: Tensor) -> Iterator[list[tuple[Tensor, int]]]:
        """Yield what each step learns from, windows of images (n, S) in an order drawn anew after each pass.

        The windows of one step that begin at the same place are one batch.
        """
        order: list[tuple[int, int]] = []
        for step in range(self.budget.steps):
            first, last = (self.budget.step_symbols * i // self.length for i in (step, step + 1))
            while len(order) < last - first:
                drawn = torch.randperm(len(images) * len(self.windows)).tolist()
                order += [(i // len(self.windows), self.windows[i % len(self.windows)][0]) for i in drawn]
            taken, order = order[: last - first], order[last - first :]
            yield [
                (images[[i for i, at in taken if at == start], start : start + self.length], start)
                for start in sorted({at for _, at in taken})
            ]

    @torch.no_grad()
    def bits(self, images: Tensor) -> np.ndarray:
        """Return the bits of each symbol of images (n, S), as float64; the model stays in the mode of training.

        It has no dropout, so both modes are the same, and that of evaluation would take another path of torch.
        """
        found = np.zeros(tuple(images.shape))
        together = self.budget.step_symbols // self.length
        for start, counted in self.windows:
            end = start + self.length
            for i in range(0, len(images), together):
                nats = self.nats(images[i : i + together, start:end], start)
                found[i : i + together, counted:end] = (nats[:, counted - start :].double() / math.log(2)).cpu().numpy()
        return found
