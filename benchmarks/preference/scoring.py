"""Pictures and captions to scores, a shard at a time; what the store has already is not computed again."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from lactok import images, weights
from lactok.errors import DiskError, UserError, WeightsNotFound
from lactok.evaluation.datasets import Sample
from lactok.evaluation.executors import Timer, run_jobs
from lactok.evaluation.progress import Report
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import batches, reference_key, store_features
from lactok.evaluation.sources import Run
from lactok.evaluation.store import Store
from lactok.metrics.rewards import Reward, RewardSpec, find, specs

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


_worker: dict[str, Any] = {}


def _start(judge: Judge | None, run: Run, store: Store) -> None:
    _worker.update(judge=judge, run=run, store=store, reward=None)


def score(
    judge: Judge, shards: Sequence[Sequence[Sample]], run: Run, store: Store, workers: int = 1,
    report: Report | None = None,
) -> Timer:  # fmt: skip
    """Store the scores of all shards: `index`, `score` and, as JSON, `errors` by position."""
    return run_jobs(_score, [list(s) for s in shards], _start, (judge, run, store), run.device, workers, report)


def features(
    shards: Sequence[Sequence[Sample]], run: Run, store: Store, workers: int = 1, report: Report | None = None
) -> Timer:
    """Store the Inception features of all shards, prepared as `run.protocol` says, where `reference_key` says."""
    return run_jobs(_features, [list(s) for s in shards], _start, (None, run, store), run.device, workers, report)


def is_finished(
    samples: Sequence[Sample], judges: Sequence[Judge], with_features: bool, run: Run, store: Store
) -> bool:
    keys = [("rewards", judge.key(samples, run)) for judge in judges]
    keys += [("reference", reference_key(samples, run))] * with_features
    return all(store.has(kind, key) for kind, key in keys)


def _score(samples: list[Sample]) -> Timer:
    judge, run, store = _worker["judge"], _worker["run"], _worker["store"]
    timer, key = Timer(run.device), judge.key(samples, run)
    if store.has("rewards", key):
        return timer
    if _worker["reward"] is None:
        with timer.stage("load"):
            _worker["reward"] = judge.reward(run.device, getattr(torch, run.dtype))
    index: list[int] = []
    scores: list[np.ndarray] = []
    errors: dict[int, str] = {}
    for batch in batches(len(samples), run.micro_batch):
        pictures = []
        with timer.stage("read"):
            for i in range(*batch.indices(len(samples))):
                try:
                    pictures.append((i, samples[i].open()))
                except images.UnreadableImage as error:
                    errors[i] = str(error)
        if pictures:
            with timer.stage(judge.spec.name):
                captions = [samples[i].caption or "" for i, _ in pictures]
                made = _worker["reward"].score([picture for _, picture in pictures], captions)
            scores.append(made.numpy())
            index += [i for i, _ in pictures]
    joined = np.concatenate(scores) if scores else np.zeros(0, np.float32)
    store.put(
        "rewards", key, {"index": np.array(index, np.int64), "score": joined, "errors": np.array(json.dumps(errors))}
    )
    sys.stdout.flush()
    return timer


def _features(samples: list[Sample]) -> Timer:
    run, store = _worker["run"], _worker["store"]
    timer = Timer(run.device)
    if store.has("reference", reference_key(samples, run)):
        return timer
    prepared, positions = [], []
    for i, sample in enumerate(samples):
        try:
            prepared.append(images.prepare(sample.open(), run.protocol.prepare))
            positions.append(i)
        except images.UnreadableImage:
            continue  # named where the scores are, and by its absence from `index`
    store_features(prepared, positions, samples, run, store, timer)
    return timer
