"""Work on a shard of pictures: store a reward model's scores of pictures and captions, or the pictures' features."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from lactok import images, weights
from lactok.errors import DiskError, UserError, WeightsNotFound
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.layout import Layout, text_of
from lactok.evaluation.progress import worked
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import has_features, store_features
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.store import Arrays, Check, Store
from lactok.evaluation.timing import Timer
from lactok.metrics.rewards import Reward, RewardSpec, find, specs
from lactok.metrics.scorer import batches

LIBRARIES = ("pillow", "tokenizers", "torchvision", "transformers")  # they turn pictures and captions into inputs


@dataclass(frozen=True)
class Judge:
    """A reward model whose weights are on this machine.

    Attributes:
        reward: its class, not loaded yet.
        assets: name, source and sha256 of each file of its weights.
    """

    reward: type[Reward]
    assets: tuple[tuple[str, str, str], ...]

    @property
    def spec(self) -> RewardSpec:
        """Return what is fixed about the reward: its name, version, licence, ..."""
        return self.reward.spec

    def describe(self) -> dict[str, Any]:
        """Return the reward's entry in a result."""
        return {
            "name": self.spec.name,
            "variant": self.spec.variant,
            "version": self.spec.version,
            "license": self.spec.license,
            "higher_is_better": self.spec.higher_is_better,
            "assets": [{"name": name, "source": source, "sha256": sha256} for name, source, sha256 in self.assets],
        }

    def cut_captions(self, captions: Sequence[str]) -> dict[str, int]:
        """Return how many of the captions are cut, see `Reward.cut_captions`; nothing where captions do not matter."""
        return self.reward.cut_captions(captions) if self.spec.needs_caption else {}

    def identity(self, run: Run) -> list[Any]:
        """Return all that determines the score of a picture and a caption, for the keys of scores."""
        hashes = [sha256 for _, _, sha256 in self.assets]
        libraries = {name: version(name) for name in LIBRARIES}
        return [self.spec.name, self.spec.version, hashes, run.dtype, run.device_kind, libraries]

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        """Return the key of these samples' scores: it depends on the files' bytes and captions, not on their names."""
        inputs = []
        for sample in samples:
            caption = sample.caption if self.spec.needs_caption else None
            inputs.append([sample.sha256, caption])
        place = run.place(bool(self.assets))
        return digest([self.identity(run), inputs, *([] if place == "cpu" else [place])])


def available(names: Sequence[str]) -> tuple[list[Judge], dict[str, str], dict[str, str]]:
    """Fetch the weights of rewards.

    Returns:
        The rewards that can run; why others lack their weights, by name; and why others are broken, by name.
    """
    judges, missing = [], {}
    known, broken = specs(names)
    for name, spec in known.items():
        try:
            found = [weights.resolve(asset) for asset in spec.assets]
        except WeightsNotFound as error:
            missing[name] = str(error)
        except DiskError:
            raise
        except UserError as error:  # a file with other weights in it: the other rewards still run
            broken[name] = str(error)
        else:
            judges.append(Judge(find(name), tuple((f.asset.name, f.source, f.sha256) for f in found)))
    return judges, missing, broken


def scores_check(samples: Sequence[Sample]) -> Check:
    """Return what says whether the file of a shard's scores by a reward holds what `RewardWork` stores."""
    layout = Layout(len(samples), {"score": 1}, texts=("errors",), complete=True)

    def check(arrays: Arrays, names: Collection[str]) -> None:
        layout(arrays, names)
        left_out = set(map(int, text_of(arrays["errors"])))
        if left_out | set(arrays["index"].tolist()) != set(range(len(samples))):
            raise ValueError("other pictures are left out")

    return check


@dataclass(frozen=True, eq=False)
class RewardWork(ShardWork):
    """Store a reward's scores of a shard's pictures.

    The arrays are "index", the positions of the pictures that can be read, "score", their scores, and "errors", why the
    others cannot be read, by position as JSON.

    Attributes:
        judge: the reward.
        run: device, dtype and batch size.
        store: where the scores are kept.
        _loaded: the reward once it is loaded, else empty.
    """

    judge: Judge
    run: Run
    store: Store
    _loaded: list[Reward] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}  # each worker process loads its own reward

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return self.store.has("rewards", self.judge.key(samples, self.run), None, scores_check(samples))

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        if self.is_finished(samples):
            return
        if not self._loaded:
            with timer.stage("load"):
                self._loaded.append(self.judge.reward(self.run.device, getattr(torch, self.run.dtype)))
        index: list[int] = []
        scores: list[np.ndarray] = []
        errors: dict[int, str] = {}
        for batch in batches(len(samples), self.run.micro_batch):
            pictures = []  # position in the shard, picture
            with timer.stage("read"):
                for i in range(*batch.indices(len(samples))):
                    try:
                        pictures.append((i, samples[i].open()))
                    except images.UnreadableImage as error:
                        errors[i] = str(error)
            if pictures:
                with timer.stage(self.judge.spec.name):
                    captions = [samples[i].caption or "" for i, _ in pictures]
                    scored = self._loaded[0].score([picture for _, picture in pictures], captions)
                scores.append(scored.numpy())
                index += [i for i, _ in pictures]
                worked(len(pictures))
        joined = np.concatenate(scores) if scores else np.zeros(0, np.float32)
        arrays = {"index": np.array(index, np.int64), "score": joined, "errors": np.array(json.dumps(errors))}
        self.store.put("rewards", self.judge.key(samples, self.run), arrays)


@dataclass(frozen=True, eq=False)
class FeatureWork(ShardWork):
    """Store the features by which FID and KID compare sets of pictures, under the shard's `reference_key`.

    Attributes:
        run: its protocol says how pictures are prepared and which features are computed.
        store: where the features are kept.
    """

    run: Run
    store: Store

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return has_features(samples, self.run, self.store)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        if self.is_finished(samples):
            return
        prepared, positions = [], []
        how = self.run.protocol.prepare
        for i, sample in enumerate(samples):
            try:
                prepared.append(images.prepare(sample.open(how.upright), how))
                positions.append(i)
            except images.UnreadableImage:
                continue  # its absence from "index" shows it, and `why_unreadable` says why
        store_features(prepared, positions, samples, self.run, self.store, timer)


def why_unreadable(sample: Sample, run: Run) -> str:
    """Return why a sample, of which no features could be stored, cannot be read or prepared."""
    try:
        images.prepare(sample.open(), run.protocol.prepare)
    except images.UnreadableImage as error:
        return str(error)
    return "cannot be read"
