"""Write the scores of all shards as a result folder, and tables of results with the paper's numbers beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks import published
from benchmarks.preference.captions import Captioned
from benchmarks.preference.notes import reading_notes
from benchmarks.preference.scoring import LIBRARIES, Judge, scores_check, why_unreadable
from lactok.errors import NothingMeasured, WrongValue
from lactok.evaluation import writing
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.distances import stored_distance
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import reference_key
from lactok.evaluation.results import PreferenceResult
from lactok.evaluation.statistics import FEWEST, distance_entry, mean_entry
from lactok.evaluation.store import FeatureBlocks, Store
from lactok.evaluation.table import missing_notes, number, printable, seconds_column
from lactok.evaluation.timing import Timer
from lactok.metrics.registry import DistanceMetric, Metric, find
from lactok.metrics.rewards import titles

# metrics that compare the set of pictures with a set of references, both prepared as the protocol square-256 does
DISTANCES = ("fid", "kid")


def distance(key: str) -> DistanceMetric:
    """Return the metric of a key of `DISTANCES`."""
    found = find(key)
    assert isinstance(found, DistanceMetric), f"{key} is declared as a distance"
    return found


def folder_name(
    name: str, captioned: Captioned, judges: Sequence[Judge], run: Run, limit: int | None, reference: str | None
) -> str:
    """Return the name of a result folder.

    It is `<pictures>__<captions>__<hash of what is measured>[__limit][__dtype][__seed]`; what has its usual value is
    left out.

    Args:
        name: of the pictures.
        reference: name of the data set that the distances compare with, if there is one.
    """
    rewards = [judge.identity(run) for judge in judges]
    distances = [run.scoring_key, reference] if reference else None
    measured = digest([rewards, distances])[:8]
    return writing.folder_name(name, captioned.source, measured, limit=limit, dtype=run.dtype, seed=run.seed)


def merge(
    name: str,
    captioned: Captioned,
    judges: Sequence[Judge],
    distances: Sequence[str],
    reference: Dataset | None,
    run: Run,
    limit: int | None,
    store: Store,
    folder: Path,
    timer: Timer,
    generator: dict[str, Any] | None = None,
) -> PreferenceResult:
    """Write the result folder of pictures whose shards are all finished, and return the result.

    Args:
        name: of the pictures.
        captioned: the pictures and their captions.
        judges: the rewards that scored them.
        distances: keys of `DISTANCES` to compute, if there is a reference.
        reference: the photographs that the distances compare with.
        limit: the number of pictures that was asked for, None for all.
        store: what holds the scores and features.
        folder: the result folder.
        timer: the time that the work took.
        generator: {"name", "samples", "seed", "dtype"} of the generator that made the pictures, if one is known.

    Raises:
        NothingMeasured: no picture can be read.
        WrongValue: no photograph of the reference can be read.
    """
    dataset = captioned.dataset
    shards = list(dataset.shards())
    columns, skipped = _records(shards, judges, run, store)
    if not columns["id"]:
        raise NothingMeasured(f"{dataset.name}: {_none_of(dataset, 'pictures', skipped)}")
    # pictures of one caption form a group; a picture without a caption is a group of its own
    groups = []
    for identifier, caption in zip(columns["id"], columns["caption"], strict=True):
        groups.append(identifier if caption is None else caption)
    captions = [caption or "" for caption in columns["caption"]]
    metrics = {}
    for judge in judges:
        # the interval is that of so many captions, since pictures of one caption resemble each other
        scores = np.asarray(columns[judge.spec.name], np.float64)
        metrics[judge.spec.name] = mean_entry(scores, groups) | judge.cut_captions(captions)
    described = None
    if reference is not None:
        described = _describe_reference(reference, run, store)
        metrics |= _distances(distances, shards, list(reference.shards()), run, store, groups)
    content = {
        "suite": "preference",
        "limit": limit,
        "pictures": {"name": name, "generator": generator},
        "dataset": {
            "name": captioned.source,
            "n": len(columns["id"]),
            "captions": len(set(groups)),
            "sha256": digest([[s.id, s.sha256, s.caption] for s in dataset.samples]),
            "skipped": [{"id": i, "reason": reason} for i, reason in sorted([*captioned.skipped, *skipped])],
            "without_picture": len(captioned.without_picture),
        },
        "rewards": [judge.describe() for judge in judges],
        "reference": described,
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": metrics,
    }
    libraries = (*writing.LIBRARIES, *LIBRARIES)
    return PreferenceResult(folder, writing.write_result(folder, content, columns, run, timer, libraries))


def _records(
    shards: Sequence[Sequence[Sample]], judges: Sequence[Judge], run: Run, store: Store
) -> tuple[dict[str, list[Any]], list[tuple[str, str]]]:
    """Return the records of all pictures that can be read, as columns, and ids of the others, each with the reason.

    The columns are "id", "caption", "sha256" and one per reward.
    """
    columns: dict[str, list[Any]] = {"id": [], "caption": [], "sha256": []}
    for judge in judges:
        columns[judge.spec.name] = []
    skipped: dict[str, str] = {}
    for samples in shards:
        readable = set(range(len(samples)))  # positions in the shard
        scores: dict[str, dict[int, float]] = {}  # by reward and position
        for judge in judges:
            stored = store.need("rewards", judge.key(samples, run), None, scores_check(samples))
            scores[judge.spec.name] = dict(zip(stored["index"].tolist(), stored["score"].tolist(), strict=True))
            errors = json.loads(str(stored["errors"]))  # JSON turned the positions into texts
            for position, reason in errors.items():
                skipped[samples[int(position)].id] = reason
                readable.discard(int(position))
        if not judges:
            unreadable = _unreadable(samples, run, store)
            skipped |= {samples[i].id: reason for i, reason in unreadable.items()}
            readable -= unreadable.keys()
        for i in sorted(readable):
            columns["id"].append(samples[i].id)
            columns["caption"].append(samples[i].caption)
            columns["sha256"].append(samples[i].sha256)
            for name, values in scores.items():
                columns[name].append(values[i])
    return columns, list(skipped.items())


def _unreadable(samples: Sequence[Sample], run: Run, store: Store) -> dict[int, str]:
    """Return why samples of a shard whose features are stored cannot be read, by position."""
    found = set(store.need("reference", reference_key(samples, run), ["index"])["index"].tolist())
    return {i: why_unreadable(sample, run) for i, sample in enumerate(samples) if i not in found}


def _none_of(dataset: Dataset, what: str, skipped: Sequence[tuple[str, str]]) -> str:
    """Return the end of the message about a data set of which nothing can be read; `skipped` has ids and reasons."""
    first, reason = min(skipped)
    return f"none of its {len(dataset.samples)} {what} can be read; the first, {printable(first)}: {reason}"


def _features(shards: Sequence[Sequence[Sample]], run: Run, store: Store) -> tuple[FeatureBlocks, int]:
    """Return the stored features of shards, to be read block by block, and how many pictures they are of."""
    filled = []  # keys of the shards with at least one picture that can be read
    n = 0
    for samples in shards:
        key = reference_key(samples, run)
        count = len(store.need("reference", key, ["index"])["index"])
        n += count
        if count:
            filled.append(key)
    return FeatureBlocks(store, "reference", filled, distance("fid").features.name, [None] * len(filled)), n


def _distances(
    keys: Sequence[str],
    shards: Sequence[Sequence[Sample]],
    references: Sequence[Sequence[Sample]],
    run: Run,
    store: Store,
    names: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return the entries of distances in a result, by key; a distance needs at least two pictures on both sides.

    Args:
        keys: of `DISTANCES`.
        shards: of the pictures.
        references: shards of the photographs to compare with.
        names: what each picture is grouped by, its caption; the intervals leave out groups of captions.
    """
    pictures, n = _features(shards, run, store)
    photographs, m = _features(references, run, store)
    out: dict[str, dict[str, Any]] = {}
    for key in keys:
        metric = distance(key)
        value, resampled = None, None
        if min(n, m) >= FEWEST:
            stored = digest([metric.key, metric.hashed(), run.networks, pictures.keys, photographs.keys])
            value, resampled = stored_distance(store, stored, metric, photographs, pictures, names, paired=False)
        out[key] = distance_entry(metric, value, n, m, resampled)
    return out


def _describe_reference(reference: Dataset, run: Run, store: Store) -> dict[str, Any]:
    """Return what a result says of the photographs that distances compare with.

    Raises:
        WrongValue: none of them can be read.
    """
    skipped = []
    for samples in reference.shards():
        skipped += [(samples[i].id, reason) for i, reason in _unreadable(samples, run, store).items()]
    if len(skipped) == len(reference.samples):
        raise WrongValue(f"`reference` {reference.name}: {_none_of(reference, 'photographs', skipped)}")
    return {
        "name": reference.name,
        "n": len(reference.samples),
        "sha256": digest([[s.id, s.sha256] for s in reference.samples]),
        "list_sha256": reference.list_sha256,
        "prepare": run.protocol.prepare.settings(),
        "features": distance("fid").features.name,
        "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
        "skipped": [{"id": i, "reason": reason} for i, reason in sorted(skipped)],
    }


def columns_of_rewards(rewards: Sequence[Judge]) -> list[tuple[Metric, str]]:
    """Return the column of each reward, and its name in the published table ("" where that has none)."""
    return [(titles.described(r.spec.name, r.spec.higher_is_better), r.spec.published) for r in rewards]


def markdown(results: Sequence[tuple[str, PreferenceResult]], judges: Sequence[Judge], times: bool = False) -> str:
    """Return a Markdown table with a row per result, and below it the paper's row, if the paper has one.

    Args:
        results: each with the name of its system, by which the paper's row is found.
        judges: the rewards that scored the pictures.
        times: whether the seconds an image of generators stand in it too; they differ from run to run.
    """
    seconds, timed = seconds_column([result for _, result in results]) if times else ([], [])
    specs = {judge.spec.name: judge.spec for judge in judges}
    keys = list(dict.fromkeys(key for _, result in results for key in result.metrics))
    metrics: list[Metric] = []
    for key in keys:
        if key in specs:
            metrics.append(titles.described(key, specs[key].higher_is_better))
        else:
            metrics.append(find(key))
    printed = published.table("generation")
    published_seconds = published.table("generation_seconds").rows
    rows = []
    for place, (system, result) in enumerate(results):
        measured = [number(metric, result.metrics.get(metric.key)) for metric in metrics]
        rows.append([result.data.pictures.name, *measured, str(result.n), *seconds[place : place + 1]])
        paper = published.row_of(system, printed.rows)
        if paper is not None:
            cells = []
            for key in keys:
                value = printed.rows[paper].get(specs[key].published) if key in specs else None
                cells.append("-" if value is None else f"{value:g}")
            theirs = published_seconds.get(paper, {}).get("seconds")
            rows.append(
                [f"{paper} (paper)", *cells, "-", *(["-" if theirs is None else f"{theirs:g}"] if seconds else [])]
            )
    head = ["pictures", *(m.head for m in metrics), "n", *(["s/image ↓"] if seconds else [])]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(head) - 1))
    notes = [
        "± is half the 95 % interval, of the mean or of the distance; pictures of one caption count as one sample.",
        *timed,
    ]
    entries = [(result.metric(key).title, entry) for _, result in results for key, entry in result.metrics.items()]
    notes += missing_notes(entries)
    notes += reading_notes([result for _, result in results])
    if any(entry.reliable is False and entry.value is not None for _, entry in entries):
        notes.append("~ FID of fewer than 2049 images is biased upwards and not comparable with published numbers.")
    if any("(paper)" in row[0] for row in rows):
        notes.append(
            "The paper does not say which HPSv2 it used, nor whether images were antialiased when resized (its numbers "
            "stand under all four), which of COCO's five captions, nor how many images."
        )
    notes += [f"{j.spec.name}: {j.spec.variant}." for j in judges if j.spec.variant]
    return text + "\n\n" + "\n".join(notes) + "\n"
