"""Scores of shards to a result folder and a table, with the paper's numbers beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks import published
from benchmarks.preference.captions import Captioned
from benchmarks.preference.scoring import LIBRARIES, Judge
from lactok.evaluation import writing
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import reference_key
from lactok.evaluation.results import PreferenceResult
from lactok.evaluation.statistics import mean_with_interval
from lactok.evaluation.store import FeatureBlocks, Store
from lactok.evaluation.table import number
from lactok.evaluation.timing import Timer
from lactok.metrics.registry import DistanceMetric, find
from lactok.metrics.rewards import titles

# distances of the set of pictures to the set of references, both as square-256 prepares them
DISTANCES = ("fid", "kid")


def distance(key: str) -> DistanceMetric:
    """The declaration of one of `DISTANCES`."""
    found = find(key)
    assert isinstance(found, DistanceMetric), f"{key} is declared as a distance"
    return found


def folder_name(name: str, captioned: Captioned, judges: Sequence[Judge], run: Run, limit: int | None, to: str) -> str:
    """`<pictures>__<captions>__<hash of what is measured>[__limit][__dtype][__seed]`.

    `to` names the reference of the distances, if there is one.
    """
    measured = digest([[j.identity(run) for j in judges], [run.scoring_key, to] if to else None])[:8]
    return writing.folder_name(name, captioned.source, measured, limit=limit, dtype=run.dtype, seed=run.seed)


def merge(
    name: str,
    captioned: Captioned,
    judges: Sequence[Judge],
    wanted: Sequence[str],
    reference: Dataset | None,
    run: Run,
    limit: int | None,
    store: Store,
    folder: Path,
    timer: Timer,
    generator: dict[str, Any] | None = None,
) -> PreferenceResult:
    """Write a result folder from finished shards, in shard order.

    Args:
        wanted: keys of DISTANCES, if there is a reference.
        generator: of the pictures, where there is one: name, samples, seed and dtype.
    """
    dataset = captioned.dataset
    shards = list(dataset.shards())
    columns, skipped = _records(shards, judges, run, store)
    groups = [c if c is not None else i for c, i in zip(columns["caption"], columns["id"], strict=True)]
    metrics = {j.spec.name: _mean(columns[j.spec.name], groups) for j in judges}
    if reference is not None:
        metrics |= _distances(wanted, shards, list(reference.shards()), run, store)
    content = {
        "suite": "preference",
        "limit": limit,
        "pictures": {"name": name, "generator": generator},
        "dataset": {
            "name": captioned.source,
            "n": len(columns["id"]),
            "captions": len(set(groups)),
            "sha256": digest([[s.id, s.sha256, s.caption] for s in dataset.samples]),
            "skipped": [{"id": i, "reason": why} for i, why in sorted([*captioned.skipped, *skipped])],
            "without_picture": len(captioned.waiting),
        },
        "rewards": [j.describe() for j in judges],
        "reference": None if reference is None else _describe_reference(reference, run),
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": metrics,
    }
    libraries = (*writing.LIBRARIES, *LIBRARIES)
    return PreferenceResult(folder, writing.write_result(folder, content, columns, run, timer, libraries))


def _records(
    shards: Sequence[Sequence[Sample]], judges: Sequence[Judge], run: Run, store: Store
) -> tuple[dict[str, list[Any]], list[tuple[str, str]]]:
    """A column a reward, and the pictures that cannot be read; these have no record."""
    columns: dict[str, list[Any]] = {"id": [], "caption": [], "sha256": [], **{j.spec.name: [] for j in judges}}
    skipped: dict[str, str] = {}
    for samples in shards:
        readable = set(range(len(samples)))
        scores: dict[str, dict[int, float]] = {}
        for judge in judges:
            stored = store.need("rewards", judge.key(samples, run))
            scores[judge.spec.name] = dict(zip(stored["index"].tolist(), stored["score"].tolist(), strict=True))
            errors = {int(i): why for i, why in json.loads(str(stored["errors"])).items()}
            skipped |= {samples[i].id: why for i, why in errors.items()}
            readable -= errors.keys()
        if not judges:
            readable &= set(store.need("reference", reference_key(samples, run), ["index"])["index"].tolist())
            skipped |= {s.id: "cannot be read" for i, s in enumerate(samples) if i not in readable}
        for i in sorted(readable):
            columns["id"].append(samples[i].id)
            columns["caption"].append(samples[i].caption)
            columns["sha256"].append(samples[i].sha256)
            for name, values in scores.items():
                columns[name].append(values[i])
    return columns, list(skipped.items())


def _mean(values: list[float], groups: Sequence[str]) -> dict[str, Any]:
    """The mean over pictures; its interval is of captions, since pictures of one caption resemble each other."""
    array = np.asarray(values, np.float64)
    mean, interval = mean_with_interval(array, groups)
    return {"value": mean, "ci95": interval, "n": len(array)}


def _blocks(shards: Sequence[Sequence[Sample]], run: Run, store: Store) -> tuple[FeatureBlocks, int]:
    keys = [reference_key(samples, run) for samples in shards]
    counts = [len(store.need("reference", key, ["index"])["index"]) for key in keys]
    filled = [key for key, count in zip(keys, counts, strict=True) if count]
    return FeatureBlocks(store, "reference", filled, distance("fid").features.name, [None] * len(filled)), sum(counts)


def _distances(
    wanted: Sequence[str],
    shards: Sequence[Sequence[Sample]],
    references: Sequence[Sequence[Sample]],
    run: Run,
    store: Store,
) -> dict[str, dict[str, Any]]:
    pictures, n = _blocks(shards, run, store)
    others, m = _blocks(references, run, store)
    out: dict[str, dict[str, Any]] = {}
    for key in wanted:
        metric = distance(key)
        value = metric.compute(others, pictures) if min(n, m) >= 2 else float("nan")
        out[key] = {"value": value, "ci95": None, "n": n, "references": m}
        if metric.reliable_from:
            out[key]["reliable"] = min(n, m) >= metric.reliable_from
    return out


def _describe_reference(reference: Dataset, run: Run) -> dict[str, Any]:
    return {
        "name": reference.name,
        "n": len(reference.samples),
        "sha256": digest([[s.id, s.sha256] for s in reference.samples]),
        "prepare": asdict(run.protocol.prepare),
        "features": distance("fid").features.name,
        "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
    }


def markdown(results: Sequence[tuple[str, PreferenceResult]], judges: Sequence[Judge]) -> str:
    """The table as Markdown; results come with the system's plain name, by which the paper's row is found."""
    specs = {j.spec.name: j.spec for j in judges}
    keys = list(dict.fromkeys(m for _, r in results for m in r.metrics))
    metrics = [titles.described(k, specs[k].higher_is_better) if k in specs else find(k) for k in keys]
    printed, rows = published.table("generation"), []
    for plain, result in results:
        rows.append([result.data.pictures.name, *(number(m, result.metrics.get(m.key)) for m in metrics)])
        rows[-1].append(str(result.n))
        if (paper := published.row_of(plain, printed.rows)) is not None:
            values = [printed.rows[paper].get(specs[k].published) if k in specs else None for k in keys]
            rows.append([f"{paper} (paper)", *("-" if v is None else f"{v:g}" for v in values), "-"])
    head = ["pictures", *(m.head for m in metrics), "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * len(head[1:]))
    notes = ["± is half the 95 % bootstrap interval of the mean; captions are resampled."]
    if any(e.reliable is False for _, r in results for e in r.metrics.values()):
        notes.append("~ FID of fewer than 2049 images is biased upwards and not comparable with published numbers.")
    if any("(paper)" in row[0] for row in rows):
        notes.append(
            "The paper does not say which HPSv2 it used (its numbers stand under both), which of COCO's five captions, "
            "nor how many images."
        )
    notes += [f"{j.spec.name}: {j.spec.variant}." for j in judges if j.spec.variant]
    return text + "\n\n" + "\n".join(notes) + "\n"
