"""What `--fast` changes: the networks of LPIPS and of Inception's features compute in bfloat16, and by how much.

On a control subset of a run's images, a fixed random choice, both are computed. The result says how far they are apart,
and tables mark its row, since numbers of such a run are not those that are published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Arrays, Store
from lactok.metrics.frechet import frechet
from lactok.metrics.registry import DistanceMetric, ImageMetric, find

FEWEST, MOST = 4, 32  # images of the control subset
SHARE = 32  # one of so many images is in it, as far as FEWEST and MOST allow


def control_ids(dataset: Dataset) -> frozenset[str]:
    """Return the ids of the samples of the control subset, a fixed random choice that is the same for every source."""
    count = min(MOST, max(FEWEST, len(dataset.samples) // SHARE))
    return frozenset(sample.id for sample in dataset.limited(count).samples)


def exact_run(run: Run) -> Run:
    """Return a run without `fast`."""
    return replace(run, protocol=replace(run.protocol, score=replace(run.protocol.score, fast=False)))


def affected(run: Run) -> tuple[list[str], list[str]]:
    """Return the keys of metrics of single images that `fast` changes, and the names of features that it changes."""
    metrics = [find(key) for key in run.protocol.score.metrics]
    of_images = [m.key for m in metrics if isinstance(m, ImageMetric) and m.fast]
    features = {m.features.name for m in metrics if isinstance(m, DistanceMetric) and m.features.fast}
    return of_images, sorted(features)


def control_key(scores_key: str, sample: Sample) -> str:
    """Return the key of what was computed both ways of one image; `scores_key` is that of its shard's scores."""
    return digest(["control", scores_key, sample.id])


def lacking(samples: Sequence[Sample], scores_key: str, store: Store, wanted: Collection[str]) -> list[Sample]:
    """Return the samples of the control subset `wanted` for which nothing is stored."""
    return [s for s in samples if s.id in wanted and not store.has("control", control_key(scores_key, s), None, _check)]


def both_ways(run: Run, reference: Tensor, output: Tensor) -> Arrays:
    """Compute what `fast` changes of one image in bfloat16 and in float32.

    Args:
        run: the run.
        reference, output: the image and its reconstruction, (3, H, W) uint8.

    Returns:
        Values (1,) and features (1, D) under `fast/NAME` and `exact/NAME`; features are of the reconstruction.
    """
    from lactok.evaluation.reconstruction import scorer_of

    of_images, features = affected(run)
    found: Arrays = {}
    for way, made in (("fast", run), ("exact", exact_run(run))):
        scorer = scorer_of(made)
        values = scorer.values(reference[None], output[None], only=of_images)
        described = scorer.describe(output[None])
        found |= {f"{way}/{key}": values[key] for key in of_images}
        found |= {f"{way}/{name}": described[name] for name in features}
    return found


def _check(arrays: Arrays, _names: Collection[str]) -> None:
    """Raise an error unless everything of a control image is there both ways."""
    if {n.removeprefix("fast/") for n in arrays if n.startswith("fast/")} != {
        n.removeprefix("exact/") for n in arrays if n.startswith("exact/")
    }:
        raise ValueError("one of two ways is missing")


def _stored(keys: Sequence[str], store: Store) -> Iterator[Arrays]:
    for key in keys:
        yield store.need("control", key, check=_check)


def deviation(run: Run, keys: Sequence[str], store: Store) -> dict[str, Any]:
    """Return how far a run with `fast` is from one without on its control subset, for the part `fast` of the result.

    Args:
        run: the run.
        keys: the keys of the control images, in the order of the samples.
        store: where they are stored.

    Returns:
        `images`, their number; `largest`, by metric the largest difference of an image's value; `distance`, by name of
        features the Frechet distance between both kinds of features of the same reconstructions, None for one image.
    """
    of_images, features = affected(run)
    images = list(_stored(keys, store))
    largest, distance = {}, {}
    for key in of_images:
        differences = [abs(float(i[f"fast/{key}"][0]) - float(i[f"exact/{key}"][0])) for i in images]
        largest[key] = max(differences, default=0.0)
    for name in features:
        ways = [[np.concatenate([i[f"{way}/{name}"] for i in images])] if images else [] for way in ("exact", "fast")]
        distance[name] = max(0.0, float(frechet(*ways))) if len(images) > 1 else None
    return {"images": len(images), "largest": largest, "distance": distance}
