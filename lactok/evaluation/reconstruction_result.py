"""Finished shards of reconstructions to a result: metrics with intervals, records, ids, codebook."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import ShardKeys
from lactok.evaluation.schema import ResultPart
from lactok.evaluation.sources import Source
from lactok.evaluation.statistics import codebook_statistics, mean_with_interval
from lactok.evaluation.store import FeatureBlocks, Store, write_atomically
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import write_result
from lactok.metrics.registry import DistanceMetric, ImageMetric, Metric, StateMetric, find

logger = logging.getLogger(__name__)


class NothingMeasured(WrongValue):
    """There is no image in a data set that can be measured."""


def check_measured(dataset: Dataset, store: Store, keys: Sequence[ShardKeys]) -> None:
    """Raise NothingMeasured where every image was left out, so that no result of nothing is written."""
    errors: dict[str, str] = {}
    for key in keys:
        scores = store.need("scores", key.scores, ["index", "errors"])
        if len(scores["index"]):
            return
        errors |= json.loads(str(scores["errors"]))
    first = min(errors)
    raise NothingMeasured(
        f"{dataset.name}: nothing to measure in {len(dataset.samples)} images; the first, {first}: {errors[first]}"
    )


def merge(
    source: Source,
    dataset: Dataset,
    run: Run,
    limit: int | None,
    store: Store,
    keys: Sequence[ShardKeys],
    folder: Path,
    timer: Timer,
) -> ResultPart:
    """Write a source's result folder from its finished shards, in shard order."""
    shards = list(dataset.shards())
    columns, skipped, histogram, near_ties = _records(source, shards, run, store, keys)
    metrics = {m: _per_image(columns[m], find(m)) for m in run.protocol.score.metrics if m in columns}
    metrics |= _of_sets(run, store, keys)
    description = source.describe()
    bits = np.asarray(columns["bits"], np.float64)
    known_bits = len(bits) > 0 and bool(np.isfinite(bits).all())
    description["bits"] = float(bits.mean()) if known_bits else description["bits"]
    pixels = run.protocol.prepare.resolution**2
    description["bpp"] = description["bits"] / pixels if description["bits"] is not None else None
    budget = description["options"].get("bits")
    if budget is not None:
        description["over_budget"] = int((bits > float(budget)).sum())
    content = {
        "suite": "recon",
        "limit": limit,
        "tokenizer": description,
        "dataset": {
            "name": dataset.name,
            "n": len(columns["id"]),
            "sha256": digest([[s.id, s.sha256] for s in dataset.samples]),
            "skipped": skipped,
        },
        "protocol": {
            "name": run.protocol.name,
            "prepare": run.protocol.prepare_hash,
            "score": run.protocol.score_hash,
            "resolution": run.protocol.prepare.resolution,
            "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
            "definition": {"prepare": asdict(run.protocol.prepare), "score": run.protocol.score.settings()},
        },
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": {m: metrics[m] for m in run.protocol.score.metrics if m in metrics},
        "codebook": codebook_statistics(histogram) | {"near_ties": near_ties} if histogram is not None else None,
    }
    _say_if_replaced(folder, description)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_tokens(folder / "tokens.npz", source, store, keys, shards)
    return write_result(folder, content, columns, run, timer)


def _say_if_replaced(folder: Path, description: Mapping[str, Any]) -> None:
    """A class that is edited, or a network that is trained on, keeps its name: its earlier result goes."""
    try:
        before = json.loads((folder / "result.json").read_bytes())["tokenizer"]
        made_of = [(d.get("code", ""), [a["sha256"] for a in d["assets"]]) for d in (before, description)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # there is none, or none that can be read
    if made_of[0] != made_of[1]:
        logger.warning("%s: the result of its earlier code or weights in %s is replaced", description["name"], folder)


def _records(
    source: Source, shards: Sequence[Sequence[Sample]], run: Run, store: Store, keys: Sequence[ShardKeys]
) -> tuple[dict[str, list[Any]], list[dict[str, str]], np.ndarray | None, int]:
    """A column a metric, samples left out with the reason, the histogram of ids and the near ties."""
    columns: dict[str, list[Any]] = {"id": [], "caption": [], "sha256": [], "bits": []}
    if source.has_ids:
        columns["near_ties"] = []
    skipped: list[dict[str, str]] = []
    histogram = np.zeros(source.codebook_size, np.int64) if source.has_ids else None
    per_image = [m for m in run.protocol.score.metrics if isinstance(find(m), ImageMetric)]
    light = ["index", "bits", "errors", *per_image]
    for samples, key in zip(shards, keys, strict=True):
        scores = store.need("scores", key.scores, light)
        index = scores["index"].tolist()
        columns["id"] += [samples[i].id for i in index]
        columns["caption"] += [samples[i].caption for i in index]
        columns["sha256"] += [samples[i].sha256 for i in index]
        columns["bits"] += scores["bits"].tolist()
        for name in per_image:
            columns.setdefault(name, []).extend(scores[name].tolist() if index else [])
        skipped += [{"id": k, "reason": v} for k, v in sorted(json.loads(str(scores["errors"])).items())]
        if key.ids is not None and histogram is not None:
            ids = store.need("ids", key.ids)
            columns["near_ties"] += ids["near_ties"].tolist()
            histogram += np.bincount(ids["ids"].ravel(), minlength=len(histogram))
    return columns, skipped, histogram, int(sum(columns.get("near_ties", [])))


def foreign(metric: Metric) -> dict[str, Any]:
    """What an entry says of a metric that is not this project's, so that a reader without it can show it."""
    return {} if metric.own else {"title": metric.title, "higher_is_better": metric.higher}


def _per_image(values: list[float], metric: Metric) -> dict[str, Any]:
    array = np.asarray(values, np.float64)
    mean, interval = mean_with_interval(array)
    entry: dict[str, Any] = {"value": mean, "ci95": interval, "n": len(array)}
    if metric.cap is not None:
        entry["capped"] = int((array >= metric.cap).sum())
    return entry | foreign(metric)


def _of_sets(run: Run, store: Store, keys: Sequence[ShardKeys]) -> dict[str, dict[str, Any]]:
    """Metrics of the set of references and the set of reconstructions."""
    metrics = [m for m in map(find, run.protocol.score.metrics) if not isinstance(m, ImageMetric)]
    if not metrics:
        return {}
    used, rows = [], []
    for key in keys:
        scores = store.need("scores", key.scores, ["index"])
        if len(scores["index"]):
            used.append(key)
            rows.append(scores["index"])
    n = sum(len(r) for r in rows)
    out = {}
    for metric in metrics:
        value = float("nan")
        stored = digest([metric.key, metric.hashed(), [[k.scores, k.reference] for k in used]])
        known = store.get("distances", stored)
        if known is not None:
            value = float(known["value"])
        elif n >= 2:
            value = _value(metric, used, rows, store)
            store.put("distances", stored, {"value": np.array(value)})
        out[metric.key] = {"value": value, "ci95": None, "n": n}
        if metric.reliable_from:
            out[metric.key]["reliable"] = n >= metric.reliable_from
        out[metric.key] |= foreign(metric)
    return out


def _value(metric: Metric, keys: Sequence[ShardKeys], rows: Sequence[np.ndarray], store: Store) -> float:
    """A metric of sets from the stored features or states of all shards."""
    if isinstance(metric, DistanceMetric):
        name = metric.features.name
        places = [
            np.searchsorted(store.need("reference", k.reference, ["index"])["index"], r)
            for k, r in zip(keys, rows, strict=True)
        ]
        outputs = FeatureBlocks(store, "scores", [k.scores for k in keys], name, [None] * len(keys))
        references = FeatureBlocks(store, "reference", [k.reference for k in keys], name, places)
        return metric.compute(references, outputs)
    assert isinstance(metric, StateMetric)
    states = []
    for key in keys:
        arrays = store.need("scores", key.scores)
        head = f"{metric.key}/"
        states.append({k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)})
    return metric.merge(states)


def _write_tokens(
    path: Path, source: Source, store: Store, keys: Sequence[ShardKeys], shards: Sequence[Sequence[Sample]]
) -> None:
    """`ids` (n, L) int32 and `samples` (n,), in the order of the records."""
    if not source.has_ids:
        return
    ids, names = [], []
    for samples, key in zip(shards, keys, strict=True):
        stored = store.need("ids", str(key.ids))
        if len(stored["index"]):
            ids.append(stored["ids"])
        names += [samples[i].id for i in stored["index"]]
    out = io.BytesIO()
    np.savez_compressed(
        out, ids=np.concatenate(ids) if ids else np.zeros((0, 0), np.int32), samples=np.array(names, dtype=np.str_)
    )
    write_atomically(path, out.getvalue())
