"""One shard at a time: photographs prepared once, encoded, decoded, scored in memory, stored in one write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok.evaluation import images
from lactok.evaluation.datasets import Sample
from lactok.evaluation.executors import Timer, run_jobs
from lactok.evaluation.progress import Report
from lactok.evaluation.protocol import digest
from lactok.evaluation.sources import Row, Run
from lactok.metrics.scorer import Scorer
from lactok.evaluation.store import Arrays, Store

SCORE_BATCH = 8


@lru_cache(maxsize=4)
def scorer(run: Run) -> Scorer:
    return Scorer(run.protocol.score, run.device)


@dataclass(frozen=True)
class ShardKeys:
    """Where a finished shard lies: `ids` is None for rows without ids."""

    scores: str
    reference: str
    ids: str | None


def reference_key(samples: Sequence[Sample], run: Run) -> str:
    features = scorer(run).feature_names
    return digest([run.protocol.prepare_hash, run.scoring_key, features, [s.sha256 for s in samples]])


def picture_key(ids_key: str, run: Run, sample: Sample) -> str:
    return digest([ids_key, run.protocol.score_hash, sample.id])


def prepared_key(run: Run, sample: Sample) -> str:
    """Of the picture of a prepared photograph, the same for all rows."""
    return digest(["prepared", run.protocol.prepare_hash, sample.sha256, version("pillow")])


class Shard:
    """One shard of one row; `finish` does what is missing in the store and nothing else."""

    def __init__(self, row: Row, samples: Sequence[Sample], run: Run, store: Store, timer: Timer | None = None):
        self.row, self.samples, self.run, self.store = row, list(samples), run, store
        self.timer = timer or Timer(run.device)
        self.ids_key = row.key(samples, run)
        self.errors: dict[str, str] = {}

    def keys(self) -> ShardKeys | None:
        """Where the scores lie, or None if ids have to be made first."""
        ids_digest = None
        if self.row.has_ids:
            stored = self.store.get("ids", self.ids_key)
            if stored is None:
                return None
            ids_digest = digest([stored["ids"].tolist(), stored["index"].tolist()])
        scores = digest([self.ids_key, ids_digest, self.run.scoring_key])
        ids = self.ids_key if self.row.has_ids else None
        return ShardKeys(scores, reference_key(self.samples, self.run), ids)

    def is_finished(self) -> bool:
        keys = self.keys()
        return (
            keys is not None
            and self.store.has("scores", keys.scores)
            and (not scorer(self.run).feature_names or self.store.has("reference", keys.reference))
        )

    def unpictured(self, pictured: Collection[str]) -> set[str]:
        """Which of these samples of a finished shard lack a stored picture; there is none of what cannot be read."""
        lacking = {
            s.id for s in self.samples
            if s.id in pictured and not all(self.store.picture(key).exists() for key in self._picture_keys(s))
        }  # fmt: skip
        keys = self.keys()
        if not lacking or keys is None:
            return lacking
        return lacking - set(json.loads(str(self.store.need("scores", keys.scores, ["errors"])["errors"])))

    def _picture_keys(self, sample: Sample) -> tuple[str, str]:
        return picture_key(self.ids_key, self.run, sample), prepared_key(self.run, sample)

    def finish(self, pictured: Collection[str] = ()) -> ShardKeys:
        """Make what is missing.

        Args:
            pictured: ids of the samples of which two pictures are kept, the prepared photograph and what became of it.
        """
        keys = self.keys()
        if keys is None or not self.is_finished():
            references, kept = self._references()
            if self.row.has_ids and self.store.get("ids", self.ids_key) is None:
                self._encode(references, kept)
            keys = self.keys()
            assert keys is not None
            if not self.store.has("scores", keys.scores):
                self._score(references, kept, keys, pictured)
        if lacking := self.unpictured(pictured):
            self._decode_again(keys, lacking)
        return keys

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
                    self.row.check(sample)
                except images.UnreadableImage as error:
                    self.errors[sample.id] = str(error)
                    continue
                references.append(reference)
                kept.append(i)
        if scorer(self.run).feature_names:
            store_features(readable, positions, self.samples, self.run, self.store, self.timer)
        return references, kept

    def _encode(self, references: list[np.ndarray], kept: list[int]) -> None:
        ids, ties = [], []
        with self.timer.stage("encode", len(kept)):
            for batch in batches(len(kept), self.run.micro_batch):
                samples = [self.samples[i] for i in kept[batch]]
                made, near = self.row.encode(references[batch], samples, self.run)
                ids.append(made.numpy().astype(np.int32))
                ties.append(near.numpy())
        width = ids[0].shape[1] if ids else 0
        arrays: Arrays = {
            "index": np.array(kept, np.int64),
            "ids": np.concatenate(ids) if ids else np.zeros((0, width), np.int32),
            "near_ties": np.concatenate(ties) if ties else np.zeros(0, np.int64),
        }
        self.store.put("ids", self.ids_key, arrays)

    def _score(self, references: list[np.ndarray], kept: list[int], keys: ShardKeys, pictured: Collection[str]) -> None:
        ids = self._ids()
        outputs, bits = [], []
        for batch in batches(len(kept), self.run.micro_batch):
            positions = kept[batch]
            with self.timer.stage("decode", len(positions)):
                made, used = self._outputs(references[batch], positions, ids)
            outputs.append(made)
            bits.append(used.numpy())
            self._keep_pictures(references[batch], made, positions, pictured)
        arrays = self._metrics(references, torch.cat(outputs)) if outputs else {}
        arrays["index"] = np.array(kept, np.int64)
        arrays["errors"] = np.array(json.dumps(self.errors))
        arrays["bits"] = np.concatenate(bits) if bits else np.zeros(0)
        self.store.put("scores", keys.scores, arrays)

    def _decode_again(self, keys: ShardKeys, pictured: Collection[str]) -> None:
        """Pictures of what was scored before: the same ids, seeds and neighbours in a batch. Not part of the times."""
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
        """Stored ids by position; empty for rows without ids."""
        if not self.row.has_ids:
            return {}
        stored = self.store.need("ids", self.ids_key)
        return dict(zip(stored["index"].tolist(), stored["ids"], strict=True))

    def _outputs(
        self, references: list[np.ndarray], positions: list[int], ids: dict[int, np.ndarray]
    ) -> tuple[Tensor, Tensor]:
        batch_ids = torch.from_numpy(np.stack([ids[i] for i in positions])).long() if ids else None
        return self.row.outputs(references, [self.samples[i] for i in positions], batch_ids, self.run)

    def _keep_pictures(
        self, references: list[np.ndarray], outputs: Tensor, positions: list[int], pictured: Collection[str]
    ) -> None:
        for reference, output, i in zip(references, outputs, positions, strict=True):
            sample = self.samples[i]
            if sample.id in pictured:
                made, prepared = self._picture_keys(sample)
                self.store.put_picture(made, images.png(output))
                self.store.put_picture(prepared, images.png(_stack([reference])[0]))

    def _metrics(self, references: list[np.ndarray], outputs: Tensor) -> Arrays:
        """Metrics and features, in batches of one size, so that they do not depend on `--batch-size`."""
        metrics, features = [], []
        for batch in batches(len(references), SCORE_BATCH):
            with self.timer.stage("per-image metrics"):
                metrics.append(scorer(self.run).per_image(_stack(references[batch]), outputs[batch]))
            with self.timer.stage("features"):
                features.append(scorer(self.run).features(outputs[batch]))
        return _joined(metrics) | _joined(features)


def store_features(
    prepared: list[np.ndarray], positions: list[int], samples: Sequence[Sample], run: Run, store: Store, timer: Timer
) -> None:
    """Features of a shard's prepared images under its `reference_key`, unless they are there; `index`: positions."""
    key = reference_key(samples, run)
    if store.has("reference", key):
        return
    with timer.stage("reference features"):
        parts = [scorer(run).features(_stack(prepared[b])) for b in batches(len(prepared), SCORE_BATCH)]
    arrays = _joined(parts)
    arrays["index"] = np.array(positions, np.int64)
    store.put("reference", key, arrays)


def batches(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _stack(references: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(references)).permute(0, 3, 1, 2).contiguous()


def _joined(parts: list[dict[str, np.ndarray]]) -> Arrays:
    return {key: np.concatenate([p[key] for p in parts]) for key in (parts[0] if parts else ())}


def run_shards(
    make_row: Callable[[], Row], shards: Sequence[Sequence[Sample]], run: Run, store: Store,
    pictured: Collection[str] = (), workers: int = 1, report: Report | None = None,
) -> Timer:  # fmt: skip
    """Finish shards, in this process or in `workers` spawned ones; `report(done, total)` after each."""
    jobs = [(list(s), frozenset(sample.id for sample in s).intersection(pictured)) for s in shards]
    return run_jobs(_work, jobs, _start_worker, (make_row, run, store), run.device, workers, report)


_worker: dict[str, Any] = {}


def _start_worker(make_row: Callable[[], Row], run: Run, store: Store) -> None:
    if run.threads:
        torch.set_num_threads(run.threads)
    if _worker.get("make_row") is not make_row or _worker["run"] != run:  # else its networks are loaded already
        _worker.update(row=make_row(), make_row=make_row, run=run)
    _worker["store"] = store


def _work(job: tuple[list[Sample], frozenset[str]]) -> Timer:
    samples, pictured = job
    timer = Timer(_worker["run"].device)
    Shard(_worker["row"], samples, _worker["run"], _worker["store"], timer).finish(pictured)
    sys.stdout.flush()
    return timer
