"""The preference suite's work on a shard: a reward's scores of pictures and captions, or the features of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from lactok import images, weights
from lactok.errors import DiskError, UserError, WeightsNotFound
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import reference_key, store_features
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.store import Store
from lactok.evaluation.timing import Timer
from lactok.metrics.rewards import Reward, RewardSpec, find, specs
from lactok.metrics.scorer import batches

LIBRARIES = ("pillow", "tokenizers", "torchvision", "transformers")  # which turn pictures and captions into inputs


@dataclass(frozen=True)
class Judge:
    """A reward whose weights are on this machine.

    Attributes:
        assets: name, source and sha256 of each file.
    """

    reward: type[Reward]
    assets: tuple[tuple[str, str, str], ...]

    @property
    def spec(self) -> RewardSpec:
        return self.reward.spec

    def describe(self) -> dict[str, Any]:
        """Its entry in a result."""
        return {
            "name": self.spec.name,
            "variant": self.spec.variant,
            "version": self.spec.version,
            "license": self.spec.license,
            "higher_is_better": self.spec.higher_is_better,
            "assets": [{"name": n, "source": s, "sha256": h} for n, s, h in self.assets],
        }

    def identity(self, run: Run) -> list[Any]:
        """All that turns a picture and a caption into a score, on one kind of device."""
        hashes = [h for _, _, h in self.assets]
        libraries = {name: version(name) for name in LIBRARIES}
        return [self.spec.name, self.spec.version, hashes, run.dtype, run.device_kind, libraries]

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        """Where the scores of these samples lie: names of files do not matter, their bytes and captions do."""
        read = self.spec.needs_caption
        return digest([self.identity(run), [[s.sha256, s.caption if read else None] for s in samples]])


def available(names: Sequence[str]) -> tuple[list[Judge], dict[str, str], dict[str, str]]:
    """Rewards whose weights are there or could be fetched, whose weights are missing, and who is broken; why."""
    judges, missing = [], {}
    known, broken = specs(names)
    for name, spec in known.items():
        try:
            found = [weights.resolve(asset) for asset in spec.assets]
        except WeightsNotFound as error:
            missing[name] = str(error)
        except DiskError:
            raise
        except UserError as error:  # foreign weights: the others still run
            broken[name] = str(error)
        else:
            judges.append(Judge(find(name), tuple((f.asset.name, f.source, f.sha256) for f in found)))
    return judges, missing, broken


@dataclass(frozen=True, eq=False)
class RewardWork(ShardWork):
    """Store a reward's scores of a shard: `index`, `score` and, as JSON, `errors` by position."""

    judge: Judge
    run: Run
    store: Store
    _loaded: list[Reward] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}  # each process loads its own

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return self.store.has("rewards", self.judge.key(samples, self.run))

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
            pictures = []
            with timer.stage("read"):
                for i in range(*batch.indices(len(samples))):
                    try:
                        pictures.append((i, samples[i].open()))
                    except images.UnreadableImage as error:
                        errors[i] = str(error)
            if pictures:
                with timer.stage(self.judge.spec.name):
                    captions = [samples[i].caption or "" for i, _ in pictures]
                    made = self._loaded[0].score([picture for _, picture in pictures], captions)
                scores.append(made.numpy())
                index += [i for i, _ in pictures]
        joined = np.concatenate(scores) if scores else np.zeros(0, np.float32)
        arrays = {"index": np.array(index, np.int64), "score": joined, "errors": np.array(json.dumps(errors))}
        self.store.put("rewards", self.judge.key(samples, self.run), arrays)


@dataclass(frozen=True, eq=False)
class FeatureWork(ShardWork):
    """Store the features of a shard's pictures, prepared as `run.protocol` says, where `reference_key` says."""

    run: Run
    store: Store

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return self.store.has("reference", reference_key(samples, self.run))

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        if self.is_finished(samples):
            return
        prepared, positions = [], []
        for i, sample in enumerate(samples):
            try:
                prepared.append(images.prepare(sample.open(), self.run.protocol.prepare))
                positions.append(i)
            except images.UnreadableImage:
                continue  # named where the scores are, and by its absence from `index`
        store_features(prepared, positions, samples, self.run, self.store, timer)
