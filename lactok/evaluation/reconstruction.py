"""The reconstruction suite's work on one shard of samples.

Photographs are prepared and encoded, and the ids are stored. Then the ids are decoded, the images are scored in memory,
and the scores are stored in one write.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok import images
from lactok.device import exact_float32
from lactok.evaluation import fast
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.keys import features_key, outputs_key, scores_key
from lactok.evaluation.layout import Layout
from lactok.evaluation.photographs import Photographs
from lactok.evaluation.progress import worked
from lactok.evaluation.protocol import digest
from lactok.evaluation.ranked import Ranked
from lactok.evaluation.shapes import groups, joined, shaped_batches
from lactok.evaluation.shard_scoring import compared_with, finish_together, stack
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.sources import Source
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.metrics.registry import ImageMetric, find
from lactok.metrics.scorer import Scorer, batches

PNG_LEVEL = 2  # of compression: the pictures of a small run would else take a tenth of its time


@lru_cache(maxsize=4)
def _scorer(metrics: tuple[str, ...], device: str, fast: bool) -> Scorer:
    return Scorer(metrics, device, fast)


def scorer_of(run: Run) -> Scorer:
    """Return what computes the run's metrics; their networks are loaded once in each process."""
    return _scorer(run.protocol.score.metrics, run.device, run.protocol.score.fast)


@dataclass(frozen=True)
class ShardKeys:
    """The keys under which a finished shard lies in the store.

    Attributes:
        scores: the key of its scores, and of the features of the reconstructions.
        reference: the key of the features of the prepared photographs.
        ids: the key of its ids, None for sources without ids.
    """

    scores: str
    reference: str
    ids: str | None


def reference_key(samples: Sequence[Sample], run: Run) -> str:
    """Return the key of the features of a shard's prepared photographs, the same for all sources."""
    how, score = run.protocol.prepare, run.protocol.score
    further: list[object] = []  # of protocols that came later, so that the keys of earlier ones stay what they were
    if score.references == "rounded":  # see `compared_with`
        further.append(score.rounding)
    if how.keeps_shape:  # photographs that are too small for one of the metrics have no features
        further.append(max(find(key).smallest for key in score.metrics))
    return digest([run.protocol.prepare_hash, features_key(run), [s.sha256 for s in samples], *further])


def ids_layout(source: Source, samples: Sequence[Sample]) -> Layout:
    """Return what the file of a shard's ids holds: `ids` (n, L) and `near_ties` (n,)."""
    below = {"ids": source.codebook_size, "near_ties": 0}
    return Layout(len(samples), {"ids": 2, "near_ties": 1}, below=below)


def per_image_metrics(run: Run) -> list[str]:
    """Return the keys of the run's metrics of single images, in their order."""
    return [key for key in run.protocol.score.metrics if isinstance(find(key), ImageMetric)]


def scores_layout(run: Run, samples: Sequence[Sample]) -> Layout:
    """Return what the file of a shard's scores holds: bits, the metrics of single images and features.

    Where references have the size of their photographs, `pixels` (n,) are the numbers of their pixels.
    States of metrics are not named here, since only the metric knows their arrays.
    """
    measured = dict.fromkeys(per_image_metrics(run), 1) | scorer_of(run).dimensions
    if run.protocol.prepare.keeps_shape:
        measured["pixels"] = 1
    return Layout(len(samples), {"bits": 1}, measured, ("errors",), complete=True)


def reference_layout(run: Run, samples: Sequence[Sample]) -> Layout:
    """Return what the file of the features of a shard's prepared photographs holds."""
    return Layout(len(samples), {}, scorer_of(run).dimensions)


def picture_key(ids_key: str, run: Run, sample: Sample) -> str:
    """Return the key of the picture of a reconstruction; `ids_key` is that of its shard's ids, see `Source.key`."""
    return digest([ids_key, outputs_key(run), sample.id])


def prepared_key(run: Run, sample: Sample) -> str:
    """Return the key of the picture of a prepared photograph, the same for all sources."""
    return digest(["prepared", run.protocol.prepare_hash, sample.sha256, version("pillow")])


@dataclass(frozen=True, eq=False)
class ReconstructionWork(ShardWork):
    """Reconstructing shards with one source, and scoring them.

    Attributes:
        source: what reconstructs.
        run: the settings that determine the numbers.
        store: where finished shards are kept.
        pictured: the ids of the samples whose pictures are kept besides the best and the worst.
        control: the ids of the samples that are scored in both ways where the run is `fast`.
        _ranked: the best and the worst of what this process has scored so far, once it has scored a shard.
    """

    source: Source
    run: Run
    store: Store
    pictured: Collection[str] = field(default_factory=frozenset)
    control: Collection[str] = field(default_factory=frozenset)
    _ranked: list[Ranked] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ranked": []}  # each worker process ranks what it scores

    def ranked(self) -> Ranked:
        """Return the best and the worst samples of those that this process has scored so far."""
        if not self._ranked:
            self._ranked.append(Ranked(self.run.protocol.score.metrics))
        return self._ranked[0]

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        """Return whether a shard's scores, features and wanted pictures are in the store."""
        return ReconstructedShard(self, samples, Timer()).is_finished()

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        """Compute what is missing of a shard."""
        ReconstructedShard(self, samples, timer).finish()

    def keys(self, samples: Sequence[Sample]) -> ShardKeys | None:
        """Return where a shard lies in the store; None if its ids have to be computed first."""
        return ReconstructedShard(self, samples, Timer()).keys()

    def all_keys(self, shards: Iterable[Sequence[Sample]]) -> list[ShardKeys]:
        """Return where shards lie in the store, without those whose ids have to be computed first."""
        found = [self.keys(samples) for samples in shards]
        return [keys for keys in found if keys is not None]


class ReconstructedShard:
    """One shard of samples, reconstructed by one source.

    In this class, `references` are prepared photographs, (H, W, 3) uint8, and positions are indices into `samples`;
    `kept` are the positions of the samples whose photographs could be read. Networks and metrics get batches of
    references of one shape, which under most protocols all have.
    """

    def __init__(self, work: ReconstructionWork, samples: Sequence[Sample], timer: Timer):
        self.source, self.run, self.store, self.pictured = work.source, work.run, work.store, work.pictured
        self.control = work.control
        self.ranked = work.ranked()
        self.samples, self.timer = list(samples), timer
        self.scorer = scorer_of(work.run)
        self.ids_key = work.source.key(samples, work.run)
        self.errors: dict[str, str] = {}  # sample id -> why it is left out

    def keys(self) -> ShardKeys | None:
        """Return where the shard lies in the store; None if its ids have to be computed first."""
        ids_digest = None
        if self.source.has_ids:
            stored = self._stored_ids()
            if stored is None:
                return None
            ids_digest = digest([stored["ids"].tolist(), stored["index"].tolist()])
        texts = [[sample.text for sample in self.samples]] if self.scorer.reads_texts else []
        scores = digest([self.ids_key, ids_digest, scores_key(self.run), *texts])
        ids = self.ids_key if self.source.has_ids else None
        return ShardKeys(scores, reference_key(self.samples, self.run), ids)

    def _stored_ids(self) -> Arrays | None:
        """Return the arrays of the shard's ids; None where they have to be computed."""
        return self.store.get("ids", self.ids_key, check=ids_layout(self.source, self.samples))

    def is_finished(self) -> bool:
        """Return whether scores, features and wanted pictures are in the store."""
        keys = self.keys()
        return (
            keys is not None and self._is_scored(keys) and not self._unpictured(keys) and not self._uncontrolled(keys)
        )

    def is_scored(self) -> bool:
        """Return whether scores and features are in the store."""
        keys = self.keys()
        return keys is not None and self._is_scored(keys)

    def has_scores(self) -> bool:
        """Return whether the scores are in the store, whatever of the photographs' features."""
        keys = self.keys()
        return keys is not None and self._has_scores(keys)

    def _is_scored(self, keys: ShardKeys) -> bool:
        """Return whether the scores are in the store, and the references' features if a metric needs any."""
        return self._has_scores(keys) and (not self.scorer.features or has_features(self.samples, self.run, self.store))

    def _has_scores(self, keys: ShardKeys) -> bool:
        """Return whether the scores are in the store; of the features only their names are looked at."""
        names = ["index", "bits", "errors", *per_image_metrics(self.run)]
        return self.store.has("scores", keys.scores, names, scores_layout(self.run, self.samples))

    def finish(self) -> None:
        """Compute what is missing, and nothing else."""
        finish_together([self])

    def finish_pictures(self) -> None:
        """Make the pictures that are wanted and not there; the shard is scored."""
        keys = self.keys()
        assert keys is not None
        lacking = self._unpictured(keys)
        if lacking or self._uncontrolled(keys):
            self._decode_again(keys, lacking)

    def _uncontrolled(self, keys: ShardKeys) -> set[str]:
        """Return the ids of samples of a scored shard that are to be scored in both ways and are not yet."""
        if not self.control:
            return set()
        scored = self.store.need("scores", keys.scores, ["index"])["index"].tolist()
        return {s.id for s in fast.lacking([self.samples[i] for i in scored], keys.scores, self.store, self.control)}

    def _unpictured(self, keys: ShardKeys) -> set[str]:
        """Return the ids of samples of a scored shard that lack a picture which the user asked for."""
        lacking = set()
        for position in self.store.need("scores", keys.scores, ["index"])["index"].tolist():
            sample = self.samples[position]
            if sample.id in self.pictured:
                reconstruction, prepared = self._picture_keys(sample)
                if not (self.store.has_picture(reconstruction) and self.store.has_picture(prepared)):
                    lacking.add(sample.id)
        return lacking

    def _picture_keys(self, sample: Sample) -> tuple[str, str]:
        """Return the keys of the pictures of a sample's reconstruction and of its prepared photograph."""
        return picture_key(self.ids_key, self.run, sample), prepared_key(self.run, sample)

    def encode(self, photographs: Photographs) -> list[int]:
        """Encode the photographs and store their ids, unless they are stored.

        A photograph that cannot be read, and one for which the source has nothing, is noted in `errors` and left out.

        Returns:
            The positions of the others.
        """
        stored = self._stored_ids() if self.source.has_ids else None
        if self.source.has_ids and stored is None:
            return self._encode(photographs)
        with self.timer.stage("prepare"):
            kept = [i for i in range(len(self.samples)) if self._is_usable(photographs, i)]
        if stored is not None and stored["index"].tolist() != kept:
            return self._encode(photographs)
        return kept

    def _is_usable(self, photographs: Photographs, position: int) -> bool:
        """Return whether a photograph can be read and the source has something for it; note in `errors` if not."""
        sample = self.samples[position]
        try:
            photographs[position]
            self.source.check(sample, self.run)
        except images.UnreadableImage as error:
            self.errors[sample.id] = str(error)
            return False
        return True

    def _encode(self, photographs: Photographs) -> list[int]:
        """Encode the photographs as they come, store the ids and near ties, and return the positions."""
        found: dict[int, tuple[np.ndarray, int]] = {}  # position -> ids and number of near ties

        def usable(position: int) -> bool:
            with self.timer.stage("prepare"):
                return self._is_usable(photographs, position)

        for positions in photographs.batches(self.run.micro_batch, usable):
            with self.timer.stage("encode", len(positions)):
                samples = [self.samples[i] for i in positions]
                made, near = self.source.encode([photographs[i] for i in positions], samples, self.run)
                rows = zip(made.numpy().astype(self._ids_dtype), near.tolist(), strict=True)
                found |= dict(zip(positions, rows, strict=True))
            worked(len(positions) / 2)  # the other half is decoding
        kept = sorted(found)
        arrays: Arrays = {
            "index": np.array(kept, np.int64),
            "ids": np.stack([found[i][0] for i in kept]) if kept else np.zeros((0, 0), self._ids_dtype),
            "near_ties": np.array([found[i][1] for i in kept], np.int64),
        }
        self.store.put("ids", self.ids_key, arrays)
        return kept

    @property
    def _ids_dtype(self) -> type[np.signedinteger[Any]]:
        """How ids are stored."""
        return np.int32 if self.source.codebook_size <= 2**31 else np.int64

    def store_features(self, photographs: Photographs) -> None:
        """Store the features of all photographs that can be read, since they serve every source."""
        if not self.scorer.features or has_features(self.samples, self.run, self.store):
            return
        prepared, positions = [], []
        for i in range(len(self.samples)):
            try:
                prepared.append(photographs[i])
                positions.append(i)
            except images.UnreadableImage:
                continue
        store_features(prepared, positions, self.samples, self.run, self.store, self.timer)

    def store_scores(
        self, references: list[np.ndarray], kept: list[int], outputs: list[Tensor], bits: np.ndarray, arrays: Arrays
    ) -> None:
        """Store the pictures that are wanted and, last, the scores.

        Args:
            references: the photographs that are scored.
            kept: their positions.
            outputs: their reconstructions, (3, H, W) uint8 each.
            bits: the bits that each took.
            arrays: the values of metrics, states and features, rows in the same order.
        """
        if kept:
            best_and_worst = self.ranked.add([self.samples[i].id for i in kept], arrays)
            self._keep_pictures(references, outputs, kept, best_and_worst.union(self.pictured))
            self._score_both_ways(references, outputs, kept)
        arrays["index"] = np.array(kept, np.int64)
        arrays["errors"] = np.array(json.dumps(self.errors))
        arrays["bits"] = bits
        if self.run.protocol.prepare.keeps_shape:
            arrays["pixels"] = np.array([r.shape[0] * r.shape[1] for r in references], np.int64)
        keys = self.keys()
        assert keys is not None
        self.store.put("scores", keys.scores, arrays)

    def _decode_again(self, keys: ShardKeys, pictured: Collection[str]) -> None:
        """Make pictures that were not asked for when the shard was scored, or were lost since.

        They are decoded from the same ids and seeds in the same batches as before. The time is not counted.
        """
        ids = self.ids()
        kept = self.store.need("scores", keys.scores, ["index"])["index"].tolist()
        if ids and not ids.keys() >= set(kept):
            raise self.store.lost("scores", keys.scores)
        how, wanted = self.run.protocol.prepare, {*pictured, *self._uncontrolled(keys)}
        for positions in self._batches_of(kept):
            if any(self.samples[i].id in wanted for i in positions):
                references = [images.prepare(self.samples[i].open(how.upright), how) for i in positions]
                made, _ = self.outputs(references, positions, ids)
                self._keep_pictures(references, made, positions, pictured)
                self._score_both_ways(references, made, positions)

    def _score_both_ways(self, references: list[np.ndarray], outputs: Iterable[Tensor], positions: list[int]) -> None:
        """Store what `fast` changes of those samples of a batch that are in the control subset."""
        keys = self.keys()
        assert keys is not None
        for reference, output, i in zip(references, outputs, positions, strict=True):
            if self.samples[i].id in self.control:
                compared = compared_with([reference], [0], self.run)[0]
                key = fast.control_key(keys.scores, self.samples[i])
                self.store.put("control", key, fast.both_ways(self.run, compared, output))

    def _batches_of(self, kept: list[int]) -> list[list[int]]:
        """Return positions in the batches in which they were computed."""
        how = self.run.protocol.prepare
        if not how.keeps_shape or self.run.micro_batch == 1:
            return [kept[batch] for batch in batches(len(kept), self.run.micro_batch)]
        shapes = [images.prepare(self.samples[i].open(how.upright), how) for i in kept]
        return [[kept[i] for i in places] for places in shaped_batches(shapes, self.run.micro_batch)]

    def ids(self) -> dict[int, np.ndarray]:
        """Return the stored ids by position; nothing for sources without ids."""
        if not self.source.has_ids:
            return {}
        stored = self.store.need("ids", self.ids_key)
        return dict(zip(stored["index"].tolist(), stored["ids"], strict=True))

    def outputs(
        self, references: list[np.ndarray], positions: list[int], ids: dict[int, np.ndarray]
    ) -> tuple[Tensor, Tensor]:
        """Return the reconstructions (B, 3, H, W) uint8 of one batch and their bits (B,)."""
        batch_ids = torch.from_numpy(np.stack([ids[i] for i in positions])).long() if ids else None
        with exact_float32():  # always, since it is so wherever images are scored while others are made
            return self.source.outputs(references, [self.samples[i] for i in positions], batch_ids, self.run)

    def _keep_pictures(
        self, references: list[np.ndarray], outputs: Iterable[Tensor], positions: list[int], pictured: Collection[str]
    ) -> None:
        """Store the pictures of those samples of a batch whose ids are in `pictured`, and of their references."""
        for reference, output, i in zip(references, outputs, positions, strict=True):
            sample = self.samples[i]
            if sample.id in pictured:
                made, prepared = self._picture_keys(sample)
                if not self.store.has_picture(made):  # it is there where only the scores were lost
                    self.store.put_picture(made, images.png(output, PNG_LEVEL))
                if not self.store.has_picture(prepared):  # another source's work may have put it there
                    self.store.put_picture(prepared, images.png(stack([reference])[0], PNG_LEVEL))


def store_features(
    prepared: list[np.ndarray], positions: list[int], samples: Sequence[Sample], run: Run, store: Store, timer: Timer
) -> None:
    """Compute and store the features of a shard's prepared images under its `reference_key`, unless they are there.

    Args:
        prepared: the images that could be read, (H, W, 3) uint8.
        positions: their indices into `samples`; they are stored as `index`.
        samples: all samples of the shard.
        run: the run, whose metrics say which features.
        store: where they are stored.
        timer: to which the time is added.
    """
    if has_features(samples, run, store):
        return
    arrays: Arrays = {"index": np.array(positions, np.int64)}
    with timer.stage("reference features"):
        if prepared:
            scorer = scorer_of(run)
            arrays |= joined([(g, scorer.describe(compared_with(prepared, g, run))) for g in groups(prepared)])
    store.put("reference", reference_key(samples, run), arrays)


def has_features(samples: Sequence[Sample], run: Run, store: Store) -> bool:
    """Return whether the features of a shard's photographs are in the store; only their names are looked at."""
    return store.has("reference", reference_key(samples, run), ["index"], reference_layout(run, samples))
