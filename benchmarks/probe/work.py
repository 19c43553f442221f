"""Probing the ids of one row: what is computed, and what of it the store keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.probe import labels as labelling
from benchmarks.probe.autoregressive import FEWEST, Learned, Split, learn
from benchmarks.probe.budget import Budget
from benchmarks.probe.linear import Classes, code_features, predictions, vector_features
from benchmarks.probe.rows import Row
from lactok import registry
from lactok.errors import UserError, WeightsNotFound, first_few
from lactok.evaluation.config import Run
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.tokenizer import Tokenizer


@dataclass(frozen=True)
class Asked:
    """What is asked of all rows.

    Attributes:
        budget: the budget of both probes.
        labels: the source of labels, see `benchmarks.probe.labels.of`.
        vectors: whether the mean code vector is probed too, for which the tokenizer is loaded.
    """

    budget: Budget = field(default_factory=Budget)
    labels: str = labelling.FOLDERS
    vectors: bool = False


@dataclass
class Found:
    """What was found of one row.

    Attributes:
        row: the row.
        classes: the photographs with a class; None where there is no linear probe, and `no_classes` says why.
        source: where the labels come from.
        named: the class that the ids name, of each photograph with a class.
        by_vectors: the same by the mean code vectors; None where there are none, and `no_vectors` says why.
        split: which photographs the autoregressive model learned from.
        learned: what came of it; None where there are too few photographs.
    """

    row: Row
    classes: Classes | None = None
    no_classes: str = ""
    source: str = ""
    named: np.ndarray | None = None
    by_vectors: np.ndarray | None = None
    no_vectors: str = ""
    split: Split | None = None
    learned: Learned | None = None


class Prober:
    """Probes rows one after the other.

    What a probe found is kept in the store, so that a killed command goes on with the first one that was not finished.

    Args:
        asked: the budget and the labels.
        run: the device and the number of threads.
        out: the folder of results.
    """

    def __init__(self, asked: Asked, run: Run, out: Path):
        self.asked, self.run, self.store = asked, run, Store(out)

    def probe(self, row: Row, timer: Timer) -> Found:
        """Return what both probes find.

        Raises:
            UserError: the labels cannot be read.
            WeightsNotFound: code vectors are asked for, and the tokenizer's weights are not there.
        """
        found, budget = Found(row), self.asked.budget
        labels = labelling.of(self.asked.labels, row.samples)
        classes = Classes.of(labels, row.contents, budget) if labels is not None else None
        found.no_classes = why_no_classes(self.asked.labels, classes, budget)
        with threads(self.run.threads):
            if labels is not None and classes is not None and not found.no_classes:
                found.classes, found.source = classes, labels.source
                found.named = self._linear(row, classes, timer)
                if self.asked.vectors:
                    found.by_vectors, found.no_vectors = self._by_vectors(row, classes, timer)
            if len(set(row.contents)) >= FEWEST:
                found.split = Split.of(row.contents, budget)
                found.learned = self._learned(row, found.split, timer)
        return found

    def _linear(self, row: Row, classes: Classes, timer: Timer) -> np.ndarray:
        """Return the class that the ids name, of each photograph with a class."""

        def compute() -> Arrays:
            with timer.stage("linear probe", len(classes.chosen)):
                features = code_features(row.ids[classes.chosen], self.asked.budget)
                return {"named": predictions(features, classes, self.asked.budget)}

        return self._kept(["linear", row.sha256, classes.sha256], compute)["named"]

    def _by_vectors(self, row: Row, classes: Classes, timer: Timer) -> tuple[np.ndarray | None, str]:
        """Return the class that the mean code vectors name, or None and why the tokenizer has none."""
        name = row.stored.label
        try:
            weights = sorted(found.sha256 for found in registry.resolve_assets(name).values())
            if weights != sorted(asset.sha256 for asset in row.stored.data.tokenizer.assets):
                return None, f"the weights of {name} here are not those that made the ids"
            tokenizer = registry.load(name)
            if not isinstance(tokenizer, Tokenizer):
                return None, f"{name} has no codes"
            vectors = tokenizer.code_vectors()
        except WeightsNotFound:
            raise
        except UserError as error:
            return None, str(error)

        def compute() -> Arrays:
            with timer.stage("linear probe of code vectors", len(classes.chosen)):
                features = vector_features(row.ids[classes.chosen], vectors, self.asked.budget)
                return {"named": predictions(features, classes, self.asked.budget, scaled=True)}

        return self._kept(["vectors", row.sha256, weights, classes.sha256], compute)["named"], ""

    def _learned(self, row: Row, split: Split, timer: Timer) -> Learned:
        """Return what the autoregressive model makes of the photographs that are held out."""
        budget, label = self.asked.budget, row.stored.label

        def compute() -> Arrays:
            with timer.stage("autoregressive model", len(row.ids)):
                learned = learn(row.ids, row.layout, split, budget, self.run.device, label)
                return {"bits": learned.bits, "step": np.array(learned.step)}

        arrays = self._kept(["autoregressive", row.sha256, self.run.place(networks=True, batched=False)], compute)
        return Learned(arrays["bits"], int(arrays["step"]))

    def _kept(self, of: list[object], compute: Callable[[], Arrays]) -> Arrays:
        """Return what the store has of this budget, or else compute it and keep it.

        Args:
            of: what else decides it.
            compute: returns the arrays.
        """
        key = digest([*of, self.asked.budget.settings()])
        known = self.store.get("probe", key)
        if known is None:
            known = compute()
            self.store.put("probe", key, known)
        return known


def why_no_classes(source: str, classes: Classes | None, budget: Budget) -> str:
    """Return why there is no linear probe, "" where there is one.

    Args:
        source: where labels were looked for.
        classes: what was found; None without labels.
        budget: the number of folds.
    """
    if classes is None:
        if source == labelling.NONE:
            return "no labels were asked for"
        return "no labels: the photographs do not lie in folders of classes, and no CSV file of labels is named"
    if classes.different < 2:
        few = f", too few have {first_few(classes.left_out, 3)}" if classes.left_out else ""
        return f"no two classes have {budget.folds} different photographs or more{few}"
    return ""


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch compute with so many threads inside the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
