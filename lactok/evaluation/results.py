"""Shards to a result: `result.json` and `records.parquet` (the same bytes every time), `run.json` and ids."""

from __future__ import annotations

import io
import json
import math
import platform
import resource
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lactok.errors import disk_errors
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.executors import Timer
from lactok.evaluation.protocol import PER_IMAGE, digest
from lactok.evaluation.shards import ShardKeys
from lactok.evaluation.sources import Row, Run
from lactok.evaluation.statistics import codebook_statistics, mean_with_interval
from lactok.evaluation.store import FeatureBlocks, Store, folder_safe, write_atomically
from lactok.metrics import frechet
from lactok.metrics.scorer import FEATURES

LIBRARIES = (
    "torch", "torchvision", "torch-fidelity", "lpips", "clean-fid", "scikit-image", "scipy", "numpy", "pillow",
)  # fmt: skip
SCHEMA = 1


def folder_name(row_name: str, dataset: Dataset, run: Run, limit: int | None) -> str:
    """`<tokenizer>__<dataset>__<prepare>-<score>[__limit][__dtype][__seed]`."""
    parts = [row_name, dataset.name, f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"]
    parts += [f"limit{limit}"] * (limit is not None) + [run.dtype] * (run.dtype != "float32")
    parts += [f"seed{run.seed}"] * (run.seed != 0)
    return "__".join(folder_safe(part) for part in parts)


def merge(
    row: Row, dataset: Dataset, run: Run, store: Store, keys: Sequence[ShardKeys], folder: Path, timer: Timer
) -> dict[str, Any]:
    """Write a row's result folder from its finished shards, in shard order, and return the result."""
    shards = list(dataset.shards())
    columns, skipped, histogram, near_ties = _records(row, shards, run, store, keys)
    metrics = {m: _per_image(columns[m], m) for m in run.protocol.score.metrics if m in columns}
    metrics |= _set_distances(run, store, keys)
    description = row.describe()
    bits = np.asarray(columns["bits"], np.float64)
    known_bits = len(bits) > 0 and bool(np.isfinite(bits).all())
    description["bits"] = float(bits.mean()) if known_bits else description["bits"]
    pixels = run.protocol.prepare.resolution**2
    description["bpp"] = description["bits"] / pixels if description["bits"] is not None else None
    budget = description["options"].get("bits")
    if budget is not None:
        description["over_budget"] = int((bits > float(budget)).sum())
    result = {
        "schema": SCHEMA,
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
            "definition": {"prepare": vars(run.protocol.prepare), "score": run.protocol.score.hashed()},
        },
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": {m: metrics[m] for m in run.protocol.score.metrics if m in metrics},
        "codebook": codebook_statistics(histogram) | {"near_ties": near_ties} if histogram is not None else None,
    }
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_records(folder / "records.parquet", columns)
        _write_tokens(folder / "tokens.npz", row, store, keys, shards)
        if timer.wall or not (folder / "run.json").exists():  # a run that computed nothing has no times of its own
            about = environment(run.device, timer, LIBRARIES) | {"batch_size": run.batch_size}
            write_atomically(folder / "run.json", to_json(about))
        write_atomically(folder / "result.json", to_json(result))
    return result


def to_json(value: object) -> bytes:
    return (json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be computed is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _records(
    row: Row, shards: Sequence[Sequence[Sample]], run: Run, store: Store, keys: Sequence[ShardKeys]
) -> tuple[dict[str, list[Any]], list[dict[str, str]], np.ndarray | None, int]:
    """A column a metric, samples left out with the reason, the histogram of ids and the near ties."""
    columns: dict[str, list[Any]] = {"id": [], "caption": [], "sha256": [], "bits": []}
    if row.has_ids:
        columns["near_ties"] = []
    skipped: list[dict[str, str]] = []
    histogram = np.zeros(row.codebook_size, np.int64) if row.has_ids else None
    light = ["index", "bits", "errors", *PER_IMAGE]
    for samples, key in zip(shards, keys, strict=True):
        scores = store.need("scores", key.scores, light)
        index = scores["index"].tolist()
        columns["id"] += [samples[i].id for i in index]
        columns["caption"] += [samples[i].caption for i in index]
        columns["sha256"] += [samples[i].sha256 for i in index]
        columns["bits"] += scores["bits"].tolist()
        for name in PER_IMAGE:
            if name in run.protocol.score.metrics and (name in scores or not index):
                columns.setdefault(name, []).extend(scores[name].tolist() if index else [])
        skipped += [{"id": k, "reason": v} for k, v in sorted(json.loads(str(scores["errors"])).items())]
        if key.ids is not None and histogram is not None:
            ids = store.need("ids", key.ids)
            columns["near_ties"] += ids["near_ties"].tolist()
            histogram += np.bincount(ids["ids"].ravel(), minlength=len(histogram))
    return columns, skipped, histogram, int(sum(columns.get("near_ties", [])))


def _per_image(values: list[float], name: str) -> dict[str, Any]:
    array = np.asarray(values, np.float64)
    mean, interval = mean_with_interval(array)
    entry: dict[str, Any] = {"value": mean, "ci95": interval, "n": len(array)}
    if name == "psnr":
        entry["capped"] = int((array >= 100.0).sum())
    return entry


def _set_distances(run: Run, store: Store, keys: Sequence[ShardKeys]) -> dict[str, dict[str, Any]]:
    """Distances between the set of references and the set of reconstructions."""
    wanted = [m for m in run.protocol.score.metrics if m in FEATURES]
    if not wanted:
        return {}
    used, rows = [], []
    for key in keys:
        scores = store.need("scores", key.scores, ["index"])
        reference = store.need("reference", key.reference, ["index"])
        if len(scores["index"]):
            used.append(key)
            rows.append(np.searchsorted(reference["index"], scores["index"]))
    n = sum(len(r) for r in rows)
    out = {}
    for metric in wanted:
        value = float("nan")
        stored = digest([metric, [[k.scores, k.reference] for k in used]])
        known = store.get("distances", stored)
        if known is not None:
            value = float(known["value"])
        elif n >= 2:
            name = FEATURES[metric]
            outputs = FeatureBlocks(store, "scores", [k.scores for k in used], name, [None] * len(used))
            references = FeatureBlocks(store, "reference", [k.reference for k in used], name, rows)
            value = (frechet.kid if metric == "kid" else frechet.frechet)(references, outputs)
            store.put("distances", stored, {"value": np.array(value)})
        out[metric] = {"value": value, "ci95": None, "n": n}
        if metric != "kid":
            out[metric]["reliable"] = n >= frechet.SINGULAR_BELOW
    return out


def write_records(path: Path, columns: dict[str, list[Any]]) -> None:
    import pandas

    frame = pandas.DataFrame(columns)
    frame["caption"] = frame["caption"].astype("string")
    out = io.BytesIO()
    frame.to_parquet(out, engine="pyarrow", index=False)
    write_atomically(path, out.getvalue())


def _write_tokens(
    path: Path, row: Row, store: Store, keys: Sequence[ShardKeys], shards: Sequence[Sequence[Sample]]
) -> None:
    """`ids` (n, L) int32 and `samples` (n,), in the order of the records."""
    if not row.has_ids:
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


def environment(device: str, timer: Timer, libraries: Sequence[str]) -> dict[str, Any]:
    """What may differ between two runs of the same bytes: machine, versions, times, memory."""
    import torch

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "machine": {"platform": platform.platform(), "processor": processor(), "threads": torch.get_num_threads()},
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
        "seconds": {"wall": dict(timer.wall), "cpu": dict(timer.cpu)},
        "images": dict(timer.images),  # that these seconds were spent on: a run that was resumed timed its own alone
        "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
    }


def processor() -> str:
    """The processor's own name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
