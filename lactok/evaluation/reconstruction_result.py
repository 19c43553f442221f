"""Making a result from finished shards of reconstructions: metrics with intervals, records, ids, codebook use."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lactok.errors import NothingMeasured, disk_errors
from lactok.evaluation import error_profile, fast
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.distances import check_value, stored_distance
from lactok.evaluation.id_statistics import id_statistics
from lactok.evaluation.jackknife import Resampled
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import ShardKeys, ids_layout, per_image_metrics, scores_layout
from lactok.evaluation.schema import ResultPart
from lactok.evaluation.shapes import states
from lactok.evaluation.sources import Source
from lactok.evaluation.statistics import codebook_statistics, distance_entry, mean_entry
from lactok.evaluation.store import FeatureBlocks, Store
from lactok.evaluation.stored_files import read_json
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import write_result
from lactok.files import write_atomically
from lactok.metrics.registry import DistanceMetric, ImageMetric, Metric, StateMetric, find

logger = logging.getLogger(__name__)


def check_measured(dataset: Dataset, store: Store, keys: Sequence[ShardKeys]) -> None:
    """Raise NothingMeasured if every image was left out; the message says why the first one was."""
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
    """Write a source's result folder from its finished shards.

    Args:
        source: what made the reconstructions.
        dataset: the samples.
        run: the settings that determine the numbers.
        limit: the limit that the user gave.
        store: where the shards are.
        keys: the keys of the finished shards, in order.
        folder: the result's folder.
        timer: the times of this run.

    Returns:
        The content of `result.json`.
    """
    shards = list(dataset.shards())
    columns, skipped, near_ties, pixels = _records(source, shards, run, store, keys)
    metrics = {m: _image_metric(columns[m], find(m)) for m in run.protocol.score.metrics if m in columns}
    metrics |= _set_metrics(run, store, keys, columns["id"])
    description = _description(source, pixels, np.asarray(columns["bits"], np.float64))
    ids, names = _all_ids(source, store, keys, shards)
    codebook = None
    if source.has_ids:
        _, counts = np.unique(ids, return_counts=True)
        codebook = codebook_statistics(counts, source.codebook_size) | {"near_ties": near_ties}
    content = {
        "suite": "recon",
        "limit": limit,
        "tokenizer": description,
        "dataset": {
            "name": dataset.name,
            "n": len(columns["id"]),
            "sha256": digest([[s.id, s.sha256] for s in dataset.samples]),
            "list_sha256": dataset.list_sha256,
            "skipped": skipped,
        },
        "protocol": {
            "name": run.protocol.name,
            "prepare": run.protocol.prepare_hash,
            "score": run.protocol.score_hash,
            "resolution": run.protocol.prepare.resolution,
            "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
            "definition": {"prepare": run.protocol.prepare.settings(), "score": run.protocol.score.settings()},
        },
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": {m: metrics[m] for m in run.protocol.score.metrics if m in metrics},
        "codebook": codebook,
    }
    if ids.size:
        content["ids"] = id_statistics(ids, names, source.codebook_size, store, source.levels)
    if run.protocol.score.fast:
        content["fast"] = fast.deviation(run, _control_keys(dataset, shards, store, keys), store)
    _warn_if_replaced(folder, description)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if error_profile.KEY in metrics:
            error_profile.write(folder, _states(error_profile.KEY, keys, store), columns["id"])
        if source.has_ids:
            _write_tokens(folder / "tokens.npz", ids, names)
    return write_result(folder, content, columns, run, timer)


def _control_keys(
    dataset: Dataset, shards: Sequence[Sequence[Sample]], store: Store, keys: Sequence[ShardKeys]
) -> list[str]:
    """Return the keys of what was computed in both ways of the samples of a fast run's control subset."""
    control = fast.control_ids(dataset)
    found = []
    for samples, key in zip(shards, keys, strict=True):
        scored = store.need("scores", key.scores, ["index"])["index"].tolist()
        found += [fast.control_key(key.scores, samples[i]) for i in scored if samples[i].id in control]
    return found


def _description(source: Source, pixels: float, bits: np.ndarray) -> dict[str, Any]:
    """Return the part `tokenizer` of the result, with the mean of the images' bits where all of these are known.

    Args:
        source: what made the reconstructions.
        pixels: the number of pixels of a reference, or their mean.
        bits: the bits of each image.
    """
    description = source.describe()
    if len(bits) > 0 and bool(np.isfinite(bits).all()):
        description["bits"] = float(bits.mean())
    description["bpp"] = None
    if description["bits"] is not None:
        description["bpp"] = description["bits"] / pixels
    budget = description["options"].get("bits")
    if budget is not None:
        description["over_budget"] = int((bits > float(budget)).sum())
    return description


def _warn_if_replaced(folder: Path, description: Mapping[str, Any]) -> None:
    """Warn if the folder holds a result of other code or weights of the same name, which is replaced now.

    That happens after a class was edited or a network was trained further.
    """
    try:
        before = read_json(folder / "result.json")["tokenizer"]
        is_replaced = _code_and_weights(before) != _code_and_weights(description)
    except (Damaged, LookupError, TypeError, AttributeError):
        return  # there is no earlier result, or none that can be read
    if is_replaced:
        logger.warning("%s: the result of its earlier code or weights in %s is replaced", description["name"], folder)


def _code_and_weights(description: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the digests of a tokenizer's code and weights."""
    return description.get("code", ""), [asset["sha256"] for asset in description["assets"]]


def _records(
    source: Source, shards: Sequence[Sequence[Sample]], run: Run, store: Store, keys: Sequence[ShardKeys]
) -> tuple[dict[str, list[Any]], list[dict[str, str]], int, float]:
    """Read the records of all shards.

    Returns:
        The columns of the records by name; the samples that were left out, with the reason; the number of near ties;
        the number of pixels of a reference, or their mean.
    """
    columns: dict[str, list[Any]] = {"id": [], "caption": [], "sha256": [], "bits": []}
    if source.has_ids:
        columns["near_ties"] = []
    skipped: list[dict[str, str]] = []
    per_image = per_image_metrics(run)
    how = run.protocol.prepare
    light = ["index", "bits", "errors", *per_image]  # the features, which are large, are not read
    pixels: list[float] = []
    if how.keeps_shape:
        light.append("pixels")
    for samples, key in zip(shards, keys, strict=True):
        scores = store.need("scores", key.scores, light, scores_layout(run, samples))
        index = scores["index"].tolist()
        columns["id"] += [samples[i].id for i in index]
        columns["caption"] += [samples[i].caption for i in index]
        columns["sha256"] += [samples[i].sha256 for i in index]
        columns["bits"] += scores["bits"].tolist()
        pixels += scores["pixels"].tolist() if how.keeps_shape and index else []
        for name in per_image:
            columns.setdefault(name, []).extend(scores[name].tolist() if index else [])
        skipped += [{"id": k, "reason": v} for k, v in sorted(json.loads(str(scores["errors"])).items())]
        if key.ids is not None and source.has_ids:
            stored = store.need("ids", key.ids, ["index", "near_ties"], ids_layout(source, samples))
            columns["near_ties"] += stored["near_ties"].tolist()
    mean = float(how.resolution or 0) ** 2
    if pixels:
        mean = float(np.mean(pixels))
    return columns, skipped, int(sum(columns.get("near_ties", []))), mean


def foreign(metric: Metric) -> dict[str, Any]:
    """Return the title and direction of a metric that is not this project's, since readers may not know it."""
    if metric.own:
        return {}
    return {"title": metric.title, "higher_is_better": metric.higher}


def _image_metric(values: list[float], metric: Metric) -> dict[str, Any]:
    """Return the entry of a metric of single images: the mean with its interval.

    A mean that any image has no value for is none either; then the entry says for how many, and gives the others' mean.
    Of a partial metric it is the others' mean.
    """
    array = np.asarray(values, np.float64)
    entry = mean_entry(array, partial=metric.partial)
    missing = np.isnan(array)
    if missing.any() and not metric.partial:
        entry["nan"] = int(missing.sum())
        others = mean_entry(array[~missing])["value"]
        entry["mean_of_others"] = others
        entry["reason"] = f"it is not defined for {entry['nan']} of {len(array)} images"
        if others is not None:
            entry["reason"] += f"; the mean of the others is {others * metric.scale:.{metric.digits}f}"
    if metric.cap is not None:
        entry["capped"] = int((array >= metric.cap).sum())
    return entry | foreign(metric)


def _set_metrics(run: Run, store: Store, keys: Sequence[ShardKeys], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of metrics that compare the set of references with the set of reconstructions, as rFID does.

    A value is kept in the store, so that it is computed once for the same shards.

    Args:
        run, store, keys: as for `merge`.
        names: the ids of the images that have reconstructions, in order.
    """
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
        value: float | None = None
        resampled: Resampled | None = None
        stored = digest([metric.key, metric.hashed(), [[k.scores, k.reference] for k in used]])
        of_rows: dict[str, Any] = {}
        if n >= 2 and isinstance(metric, DistanceMetric):
            references, outputs = _features(metric, used, rows, store)
            counts = None
            if metric.features.rows is not None:  # an image has several rows of features
                counts = outputs.rows_of_images()
                total = int(counts.sum())
                of_rows = {"rows": total, "reliable": total >= metric.reliable_from}
            value, resampled = stored_distance(store, stored, metric, references, outputs, names, True, counts)
        elif n >= 2 and isinstance(metric, StateMetric):
            known = store.get("distances", stored, check=check_value)
            value = metric.merge(_states(metric.key, used, store)) if known is None else float(known["value"])
            if known is None:
                store.put("distances", stored, {"value": np.array(value)})
        out[metric.key] = distance_entry(metric, value, n, resampled=resampled) | foreign(metric) | of_rows
    return out


def _features(
    metric: DistanceMetric, keys: Sequence[ShardKeys], rows: Sequence[np.ndarray], store: Store
) -> tuple[FeatureBlocks, FeatureBlocks]:
    """Return the stored features of the references and of the reconstructions, to be read block by block.

    Args:
        metric: the metric whose features they are.
        keys: the shards that have reconstructions.
        rows: the positions of these in each shard; of the references' features only these rows count.
        store: the store.
    """
    name = metric.features.name
    places = [_places(store, k.reference, r) for k, r in zip(keys, rows, strict=True)]
    outputs = FeatureBlocks(store, "scores", [k.scores for k in keys], name, [None] * len(keys))
    return FeatureBlocks(store, "reference", [k.reference for k in keys], name, places), outputs


def _states(metric: str, keys: Sequence[ShardKeys], store: Store) -> list[dict[str, np.ndarray]]:
    """Return the states of a metric, of those shards that have reconstructions."""
    found: list[dict[str, np.ndarray]] = []
    for key in keys:
        arrays = store.need("scores", key.scores)
        if not len(arrays["index"]):
            continue
        for state in states(arrays, metric):
            found.append(state)
            if _kinds(state) != _kinds(found[0]) or not found[0]:
                store.lost("scores", keys[0].scores)  # which of the two is the wrong one cannot be told
                raise store.lost("scores", key.scores)
    return found


def _places(store: Store, key: str, rows: np.ndarray) -> np.ndarray:
    """Return where the features of the samples at these positions stand in a shard of references' features."""
    index = store.need("reference", key, ["index"])["index"]
    if not np.isin(rows, index).all():
        raise store.lost("reference", key)
    return np.searchsorted(index, rows)


def _kinds(state: Mapping[str, np.ndarray]) -> dict[str, tuple[str, int]]:
    """Return the dtype and the number of dimensions of each array of a state, which are the same in all shards."""
    return {name: (str(array.dtype), array.ndim) for name, array in sorted(state.items())}


def _all_ids(
    source: Source, store: Store, keys: Sequence[ShardKeys], shards: Sequence[Sequence[Sample]]
) -> tuple[np.ndarray, list[str]]:
    """Return the ids (n, L) of all shards and the names of the n samples, in the order of the records."""
    ids, names = [], []
    if source.has_ids:
        for samples, key in zip(shards, keys, strict=True):
            stored = store.need("ids", str(key.ids), check=ids_layout(source, samples))
            if len(stored["index"]):
                ids.append(stored["ids"])
            names += [samples[i].id for i in stored["index"]]
    return np.concatenate(ids) if ids else np.zeros((0, 0), np.int32), names


def _write_tokens(path: Path, ids: np.ndarray, names: Sequence[str]) -> None:
    """Write `tokens.npz`: `ids` (n, L) and `samples`, their n ids."""
    out = io.BytesIO()
    np.savez_compressed(out, ids=ids, samples=np.array(names, dtype=np.str_))
    write_atomically(path, out.getvalue())
