"""The reconstruction suite's work on a shard, and its merge.

Photographs are prepared once, encoded, the ids stored; decoded, scored in memory, stored in one write.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from lactok import images
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.sources import Source
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.metrics.registry import find
from lactok.metrics.scorer import Scorer, batches

EXTREMES = 3  # best ones of a shard whose pictures are kept, and as many worst
RANKED_BY = ("lpips_alex", "lpips_vgg", "psnr")  # the first that was measured


@lru_cache(maxsize=4)
def scorer(metrics: tuple[str, ...], device: str) -> Scorer:
    return Scorer(metrics, device)


def scorer_of(run: Run) -> Scorer:
    """The run's metrics, their networks loaded once a process."""
    return scorer(run.protocol.score.metrics, run.device)


@dataclass(frozen=True)
class ShardKeys:
    """Where a finished shard lies: `ids` is None for sources without ids."""

    scores: str
    reference: str
    ids: str | None


def reference_key(samples: Sequence[Sample], run: Run) -> str:
    """Where the features of the prepared photographs of a shard lie."""
    features = list(scorer_of(run).features)
    return digest([run.protocol.prepare_hash, run.scoring_key, features, [s.sha256 for s in samples]])


def picture_key(ids_key: str, run: Run, sample: Sample) -> str:
    """Of the picture of a reconstruction."""
    return digest([ids_key, run.protocol.score_hash, sample.id])


def prepared_key(run: Run, sample: Sample) -> str:
    """Of the picture of a prepared photograph, the same for all sources."""
    return digest(["prepared", run.protocol.prepare_hash, sample.sha256, version("pillow")])


def ranking(metrics: Sequence[str]) -> tuple[str, float] | None:
    """The metric by which samples are best and worst, and the factor that makes lower better; None without one."""
    metric = next((m for m in RANKED_BY if m in metrics), None)
    return None if metric is None else (metric, -1.0 if find(metric).higher else 1.0)


def extremes(ranked: Sequence[tuple[float, str]]) -> tuple[list[str], list[str]]:
    """Ids of the best samples and of the worst, of (value, id) pairs, lower better; NaN is neither."""
    names = [identifier for value, identifier in sorted(ranked) if np.isfinite(value)]
    return names[:EXTREMES], names[-EXTREMES:]


@dataclass(frozen=True, eq=False)
class ReconstructionWork(ShardWork):
    """A source's reconstructions of shards, and their scores.

    Attributes:
        pictured: ids of the samples whose pictures are kept besides the best and worst of each shard.
    """

    source: Source
    run: Run
    store: Store
    pictured: Collection[str] = field(default_factory=frozenset)

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return Shard(self, samples, Timer()).is_finished()

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        Shard(self, samples, timer).finish()

    def keys(self, samples: Sequence[Sample]) -> ShardKeys | None:
        """Where a shard's scores lie; None if its ids have to be made first."""
        return Shard(self, samples, Timer()).keys()


class Shard:
    """One shard of one source."""

    def __init__(self, work: ReconstructionWork, samples: Sequence[Sample], timer: Timer):
        self.source, self.run, self.store, self.pictured = work.source, work.run, work.store, work.pictured
        self.samples, self.timer = list(samples), timer
        self.scorer = scorer_of(work.run)
        self.ids_key = work.source.key(samples, work.run)
        self.errors: dict[str, str] = {}

    def keys(self) -> ShardKeys | None:
        ids_digest = None
        if self.source.has_ids:
            stored = self.store.get("ids", self.ids_key)
            if stored is None:
                return None
            ids_digest = digest([stored["ids"].tolist(), stored["index"].tolist()])
        scores = digest([self.ids_key, ids_digest, self.run.scoring_key])
        ids = self.ids_key if self.source.has_ids else None
        return ShardKeys(scores, reference_key(self.samples, self.run), ids)

    def is_finished(self) -> bool:
        keys = self.keys()
        return keys is not None and self._is_scored(keys) and not self._unpictured(keys)

    def _is_scored(self, keys: ShardKeys) -> bool:
        return self.store.has("scores", keys.scores) and (
            not self.scorer.features or self.store.has("reference", keys.reference)
        )

    def finish(self) -> None:
        keys = self.keys()
        if keys is None or not self._is_scored(keys):
            references, kept = self._references()
            if self.source.has_ids and self.store.get("ids", self.ids_key) is None:
                self._encode(references, kept)
            keys = self.keys()
            assert keys is not None
            if not self.store.has("scores", keys.scores):
                self._score(references, kept, keys)
        if lacking := self._unpictured(keys):
            self._decode_again(keys, lacking)

    def _wanted(self, index: Sequence[int], values: np.ndarray | None) -> set[str]:
        """Ids of the samples whose pictures are kept.

        Args:
            index: positions of the scored samples.
            values: of the metric that ranks them, lower better.
        """
        names = [self.samples[i].id for i in index]
        best, worst = extremes(list(zip(values.tolist(), names, strict=True))) if values is not None else ([], [])
        return {name for name in names if name in self.pictured} | {*best, *worst}

    def _unpictured(self, keys: ShardKeys) -> set[str]:
        """Which samples of a scored shard lack a picture that is to be kept."""
        rank = ranking(self.run.protocol.score.metrics)
        scores = self.store.need("scores", keys.scores, ["index", rank[0]] if rank else ["index"])
        values = scores[rank[0]] * rank[1] if rank and rank[0] in scores else None
        wanted = self._wanted(scores["index"].tolist(), values)
        return {
            s.id
            for s in self.samples
            if s.id in wanted and not all(self.store.picture(key).exists() for key in self._picture_keys(s))
        }

    def _picture_keys(self, sample: Sample) -> tuple[str, str]:
        return picture_key(self.ids_key, self.run, sample), prepared_key(self.run, sample)

    def _references(self) -> tuple[list[np.ndarray], list[int]]:
        """Prepared photographs and their positions; what cannot be read is noted and left out."""
        references, kept = [], []
        readable, positions = [], []
        with self.timer.stage("prepare"):
            for i, sample in enumerate(self.samples):
                try:
                    reference = images.prepare(sample.open(), self.run.protocol.prepare)
                    readable.append(reference)
                    positions.append(i)
                    self.source.check(sample)
                except images.UnreadableImage as error:
                    self.errors[sample.id] = str(error)
                    continue
                references.append(reference)
                kept.append(i)
        if self.scorer.features:
            store_features(readable, positions, self.samples, self.run, self.store, self.timer)
        return references, kept

    def _encode(self, references: list[np.ndarray], kept: list[int]) -> None:
        ids, ties = [], []
        with self.timer.stage("encode", len(kept)):
            for batch in batches(len(kept), self.run.micro_batch):
                samples = [self.samples[i] for i in kept[batch]]
                made, near = self.source.encode(references[batch], samples, self.run)
                ids.append(made.numpy().astype(np.int32))
                ties.append(near.numpy())
        width = ids[0].shape[1] if ids else 0
        arrays: Arrays = {
            "index": np.array(kept, np.int64),
            "ids": np.concatenate(ids) if ids else np.zeros((0, width), np.int32),
            "near_ties": np.concatenate(ties) if ties else np.zeros(0, np.int64),
        }
        self.store.put("ids", self.ids_key, arrays)

    def _score(self, references: list[np.ndarray], kept: list[int], keys: ShardKeys) -> None:
        """Decode, compare, keep the pictures that are wanted, and store the scores last."""
        ids = self._ids()
        outputs, bits = [], []
        for batch in batches(len(kept), self.run.micro_batch):
            with self.timer.stage("decode", len(kept[batch])):
                made, used = self._outputs(references[batch], kept[batch], ids)
            outputs.append(made)
            bits.append(used.numpy())
        arrays: Arrays = {}
        if outputs:
            whole, compared = torch.cat(outputs), stack(references)
            with self.timer.stage("per-image metrics"):
                arrays |= self.scorer.compare(compared, whole)
            with self.timer.stage("features"):
                arrays |= self.scorer.describe(whole)
            rank = ranking(self.run.protocol.score.metrics)
            wanted = self._wanted(kept, arrays[rank[0]] * rank[1] if rank else None)
            self._keep_pictures(references, whole, kept, wanted)
        arrays["index"] = np.array(kept, np.int64)
        arrays["errors"] = np.array(json.dumps(self.errors))
        arrays["bits"] = np.concatenate(bits) if bits else np.zeros(0)
        self.store.put("scores", keys.scores, arrays)

    def _decode_again(self, keys: ShardKeys, pictured: Collection[str]) -> None:
        """Pictures that were not asked for when the shard was scored, or were lost: the same ids and seeds, and the
        same neighbours in a batch. Not part of the times."""
        ids = self._ids()
        kept = self.store.need("scores", keys.scores, ["index"])["index"].tolist()
        for batch in batches(len(kept), self.run.micro_batch):
            positions = kept[batch]
            if any(self.samples[i].id in pictured for i in positions):
                how = self.run.protocol.prepare
                references = [images.prepare(self.samples[i].open(), how) for i in positions]
                made, _ = self._outputs(references, positions, ids)
                self._keep_pictures(references, made, positions, pictured)

    def _ids(self) -> dict[int, np.ndarray]:
        """Stored ids by position; empty for sources without ids."""
        if not self.source.has_ids:
            return {}
        stored = self.store.need("ids", self.ids_key)
        return dict(zip(stored["index"].tolist(), stored["ids"], strict=True))

    def _outputs(
        self, references: list[np.ndarray], positions: list[int], ids: dict[int, np.ndarray]
    ) -> tuple[Tensor, Tensor]:
        batch_ids = torch.from_numpy(np.stack([ids[i] for i in positions])).long() if ids else None
        return self.source.outputs(references, [self.samples[i] for i in positions], batch_ids, self.run)

    def _keep_pictures(
        self, references: list[np.ndarray], outputs: Tensor, positions: list[int], pictured: Collection[str]
    ) -> None:
        for reference, output, i in zip(references, outputs, positions, strict=True):
            sample = self.samples[i]
            if sample.id in pictured:
                made, prepared = self._picture_keys(sample)
                self.store.put_picture(made, images.png(output))
                self.store.put_picture(prepared, images.png(stack([reference])[0]))


def store_features(
    prepared: list[np.ndarray], positions: list[int], samples: Sequence[Sample], run: Run, store: Store, timer: Timer
) -> None:
    """Features of a shard's prepared images under its `reference_key`, unless they are there; `index`: positions."""
    key = reference_key(samples, run)
    if store.has("reference", key):
        return
    arrays: Arrays = {"index": np.array(positions, np.int64)}
    with timer.stage("reference features"):
        arrays |= scorer_of(run).describe(stack(prepared)) if prepared else {}
    store.put("reference", key, arrays)


def stack(references: list[np.ndarray]) -> Tensor:
    """Prepared images (R, R, 3) -> (N, 3, R, R) uint8."""
    return torch.from_numpy(np.stack(references)).permute(0, 3, 1, 2).contiguous()


def ranked_samples(
    shards: Sequence[Sequence[Sample]], keys: Sequence[ShardKeys], run: Run, store: Store
) -> tuple[list[str], list[str]]:
    """Ids of the best samples of all finished shards and of the worst."""
    rank = ranking(run.protocol.score.metrics)
    ranked: list[tuple[float, str]] = []
    if rank is not None:
        for samples, key in zip(shards, keys, strict=True):
            scores = store.need("scores", key.scores, ["index", rank[0]])
            values = scores.get(rank[0], np.zeros(0)) * rank[1]
            ranked += [(v, samples[i].id) for i, v in zip(scores["index"].tolist(), values.tolist(), strict=True)]
    return extremes(ranked)
