"""Work on a shard of pictures: make them, where a generator does, and store the features that all metrics are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.gfid.pictures import Pictures, pixel_sha256
from lactok.evaluation import reconstruction
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.keys import features_key
from lactok.evaluation.layout import Layout
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.metrics.inception_features import INCEPTION_TF1

KIND = "features"  # of the store's files of features
FEATURES = INCEPTION_TF1.name


@dataclass(frozen=True, eq=False)
class DescribingWork(ShardWork):
    """Make a shard's pictures if need be, and store Inception's features of them.

    The arrays are "index", the positions of the pictures that can be read; the features, a row for each; and as JSON
    by position "sha256", the hashes of their pixels, and "errors", why the others cannot be read.

    Attributes:
        pictures: the pictures.
        run: its protocol has the one metric that names the features, so that other metrics change no key.
        store: where the features are kept.
        stage: what the time of the features is called.
    """

    pictures: Pictures
    run: Run
    store: Store
    stage: str = "features"

    def key(self, samples: Sequence[Sample]) -> str:
        """Return the key of a shard's features."""
        return digest([self.pictures.key(samples), features_key(self.run)])

    def layout(self, samples: Sequence[Sample]) -> Layout:
        """Return what the file of a shard's features holds."""
        return Layout(len(samples), {}, {FEATURES: 2}, ("errors", "sha256"), complete=True)

    def has_features(self, samples: Sequence[Sample]) -> bool:
        """Return whether a shard's features are in the store; only their names are looked at."""
        return self.store.has(KIND, self.key(samples), ["index", "errors", "sha256"], self.layout(samples))

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return self.has_features(samples) and self.pictures.is_made(samples)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        if not self.pictures.is_made(samples):
            self.pictures.make(samples, timer)
        if self.has_features(samples):
            return
        with timer.stage("read"):
            pictures, errors = self.pictures.read(samples)
        arrays: Arrays = {}
        if pictures:
            stacked = torch.from_numpy(np.stack(list(pictures.values()))).permute(0, 3, 1, 2).contiguous()
            with timer.stage(self.stage, len(pictures)):
                arrays |= reconstruction.scorer_of(self.run).describe(stacked)
        hashes = {i: pixel_sha256(picture) for i, picture in pictures.items()}
        arrays["index"] = np.array(list(pictures), np.int64)
        arrays["errors"] = np.array(json.dumps(errors))
        arrays["sha256"] = np.array(json.dumps(hashes))
        self.store.put(KIND, self.key(samples), arrays)

    def facts(self, samples: Sequence[Sample]) -> tuple[dict[int, str], dict[int, str]]:
        """Return the hashes of a finished shard's pictures, and why others cannot be read, by position.

        Raises:
            LostShard: the shard is missing or damaged.
        """
        stored = self.store.need(KIND, self.key(samples), ["index", "errors", "sha256"], self.layout(samples))
        hashes = {int(i): sha256 for i, sha256 in json.loads(str(stored["sha256"])).items()}
        errors = {int(i): reason for i, reason in json.loads(str(stored["errors"])).items()}
        if sorted(hashes) != stored["index"].tolist():
            raise self.store.lost(KIND, self.key(samples))
        return hashes, errors
