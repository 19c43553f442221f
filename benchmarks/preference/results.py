"""Scores of shards to a result folder and a table, with the paper's numbers beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks import published
from benchmarks.preference.captions import Captioned
from benchmarks.preference.scoring import LIBRARIES, Judge
from lactok.errors import disk_errors
from lactok.evaluation import results
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.executors import Timer
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import SCHEMA, environment, to_json, write_records
from lactok.evaluation.shards import reference_key
from lactok.evaluation.sources import Run
from lactok.evaluation.statistics import mean_with_interval
from lactok.evaluation.store import FeatureBlocks, Store, folder_safe, write_atomically
from lactok.evaluation.table import cell
from lactok.metrics import frechet
from lactok.metrics.scorer import FEATURES

# distances of the set of pictures to the set of references, both as square-256 prepares them
DISTANCES = {"fid": frechet.frechet, "kid": frechet.kid}
_FEATURES = FEATURES["rfid"]


def folder_name(name: str, captioned: Captioned, judges: Sequence[Judge], run: Run, limit: int | None, to: str) -> str:
    """`<pictures>__<captions>__<hash of what is measured>[__limit][__dtype][__seed]`.

    `to` names the reference of the distances, if there is one.
    """
    measured = digest([[j.identity(run) for j in judges], [run.scoring_key, to] if to else None])[:8]
    parts = [name, captioned.source, measured]
    parts += [f"limit{limit}"] * (limit is not None) + [run.dtype] * (run.dtype != "float32")
    parts += [f"seed{run.seed}"] * (run.seed != 0)
    return "__".join(folder_safe(part) for part in parts)


def merge(
    name: str, captioned: Captioned, judges: Sequence[Judge], wanted: Sequence[str], reference: Dataset | None,
    run: Run, store: Store, folder: Path, timer: Timer,
) -> dict[str, Any]:  # fmt: skip
    """Write a result folder from finished shards, in shard order, and return the result.

    Args:
        wanted: keys of DISTANCES, if there is a reference.
    """
    dataset = captioned.dataset
    shards = list(dataset.shards())
    columns, skipped = _records(shards, judges, run, store)
    groups = [c if c is not None else i for c, i in zip(columns["caption"], columns["id"], strict=True)]
    metrics = {j.spec.name: _mean(columns[j.spec.name], groups) for j in judges}
    if reference is not None:
        metrics |= _distances(wanted, shards, list(reference.shards()), run, store)
    result = {
        "schema": SCHEMA,
        "pictures": {"name": name},
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
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_records(folder / "records.parquet", columns)
        if timer.wall or not (folder / "run.json").exists():  # a run that computed nothing has no times of its own
            about = environment(run.device, timer, (*results.LIBRARIES, *LIBRARIES)) | {"batch_size": run.batch_size}
            write_atomically(folder / "run.json", to_json(about))
        write_atomically(folder / "result.json", to_json(result))
    return result


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
    return FeatureBlocks(store, "reference", filled, _FEATURES, [None] * len(filled)), sum(counts)


def _distances(
    wanted: Sequence[str], shards: Sequence[Sequence[Sample]], references: Sequence[Sequence[Sample]], run: Run,
    store: Store,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    pictures, n = _blocks(shards, run, store)
    others, m = _blocks(references, run, store)
    out: dict[str, dict[str, Any]] = {}
    for metric in wanted:
        value = DISTANCES[metric](others, pictures) if min(n, m) >= 2 else float("nan")
        out[metric] = {"value": value, "ci95": None, "n": n, "references": m}
        if metric == "fid":
            out[metric]["reliable"] = min(n, m) >= frechet.SINGULAR_BELOW
    return out


def _describe_reference(reference: Dataset, run: Run) -> dict[str, Any]:
    return {
        "name": reference.name,
        "n": len(reference.samples),
        "sha256": digest([[s.id, s.sha256] for s in reference.samples]),
        "prepare": vars(run.protocol.prepare),
        "features": run.protocol.score.rfid,
        "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
    }


def markdown(results: Sequence[tuple[str, dict[str, Any]]], judges: Sequence[Judge]) -> str:
    """The table as Markdown; results come with the system's plain name, by which the paper's row is found."""
    specs = {j.spec.name: j.spec for j in judges}
    metrics = list(dict.fromkeys(m for _, r in results for m in r["metrics"]))
    arrows = {m: "↑" if m in specs and specs[m].higher_is_better else "↓" for m in metrics}
    printed, rows = published.table("generation"), []
    for plain, result in results:
        rows.append([result["pictures"]["name"], *(cell(m, result["metrics"].get(m)) for m in metrics)])
        rows[-1].append(str(result["dataset"]["n"]))
        if (paper := published.row_of(plain, printed.rows)) is not None:
            values = [printed.rows[paper].get(specs[m].published) if m in specs else None for m in metrics]
            rows.append([f"{paper} (paper)", *("-" if v is None else f"{v:g}" for v in values), "-"])
    head = ["pictures", *(f"{'KID x1000' if m == 'kid' else m} {arrows[m]}" for m in metrics), "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * len(head[1:]))
    notes = ["± is half the 95 % bootstrap interval of the mean; captions are resampled."]
    if any(e.get("reliable") is False for _, r in results for e in r["metrics"].values()):
        notes.append("~ FID of fewer than 2049 images is biased upwards and not comparable with published numbers.")
    if any("(paper)" in row[0] for row in rows):
        notes.append(
            "The paper does not say which HPSv2 it used (its numbers stand under both), which of COCO's five captions, "
            "nor how many images."
        )
    notes += [f"{j.spec.name}: {j.spec.variant}." for j in judges if j.spec.variant]
    return text + "\n\n" + "\n".join(notes) + "\n"
