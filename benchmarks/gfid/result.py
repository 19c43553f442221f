"""Make a result of finished shards: metrics, records, example pictures, ADM's file of pictures; and the table."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks import published
from benchmarks.gfid.arrays import write_pictures, write_statistics
from benchmarks.gfid.pictures import GeneratedPictures
from benchmarks.gfid.reference import Reference
from benchmarks.gfid.work import FEATURES, KIND, DescribingWork
from lactok.errors import NothingMeasured, WrongValue, disk_errors
from lactok.evaluation import writing
from lactok.evaluation.config import Run
from lactok.evaluation.distances import stored_distance
from lactok.evaluation.jackknife import Resampled
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import GfidResult
from lactok.evaluation.statistics import distance_entry
from lactok.evaluation.store import FeatureBlocks
from lactok.evaluation.table import missing_notes, number, printable, seconds_column
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import to_json
from lactok.files import write_atomically
from lactok.metrics.frechet import Gaussian, Moments
from lactok.metrics.registry import DistanceMetric, Metric, find

PUBLISHED = 50_000  # pictures of which papers give their gFID
EXAMPLE = re.compile(r"\d{8}-class\d{3}\.png")


@dataclass(frozen=True)
class Measurement:
    """What is measured of a set of pictures.

    Attributes:
        work: the pictures' features.
        theirs: the features of the reference's pictures, where they are needed.
        reference: the reference.
        run: its protocol has the metrics.
        absent: metric -> why its network cannot be had.
        limit: the number of pictures that the user chose, None for all.
        generator: {"name", "samples", "seed", "dtype"} of the generator, None for pictures of files.
    """

    work: DescribingWork
    theirs: DescribingWork | None
    reference: Reference
    run: Run
    absent: Mapping[str, str]
    limit: int | None
    generator: Mapping[str, Any] | None


def distance(key: str) -> DistanceMetric:
    """Return a metric of features by its key."""
    found = find(key)
    assert isinstance(found, DistanceMetric), f"{key} is declared with features"
    return found


def merge(measured: Measurement, folder: Path, timer: Timer, statistics: Path | None) -> GfidResult:
    """Write the result folder of pictures whose shards are all finished, and return the result.

    Args:
        measured: what was measured.
        folder: the result's folder.
        timer: the times of this run.
        statistics: where the reference's statistics are to be written, if anywhere.

    Raises:
        NothingMeasured: no picture can be read.
        WrongValue: no photograph of the reference can be read.
        LostShard: a shard is missing or damaged.
    """
    pictures, run = measured.work.pictures, measured.run
    columns, skipped = _records(measured.work)
    if not columns["id"]:
        raise NothingMeasured(_none_of(pictures.name, "pictures", skipped))
    not_read: list[dict[str, str]] = []
    if measured.theirs is not None:
        theirs, not_read = _records(measured.theirs)
        if not theirs["id"]:
            raise WrongValue(f"`reference` {_none_of(measured.reference.name, 'photographs', not_read)}")
    if statistics is not None:
        _save_statistics(statistics, measured)
    protocol = run.protocol
    content = {
        "suite": "gfid",
        "limit": measured.limit,
        "pictures": {"name": pictures.name, "generator": measured.generator},
        "dataset": {
            "name": pictures.dataset.name,
            "n": len(columns["id"]),
            "sha256": digest(list(zip(columns["id"], columns["sha256"], strict=True))),
            "skipped": skipped,
        },
        "protocol": {
            "name": protocol.name,
            "prepare": protocol.prepare_hash,
            "score": protocol.score_hash,
            "resolution": protocol.prepare.resolution,
            "networks": [{"name": name, "sha256": sha256} for name, sha256 in run.networks],
            "definition": {"prepare": protocol.prepare.settings(), "score": protocol.score.settings()},
        },
        "reference": measured.reference.describe(pictures.side, not_read),
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": _metrics(measured, columns["id"]),
    }
    return GfidResult(folder, writing.write_result(folder, content, columns, run, timer, texts=()))


def _none_of(name: str, what: str, skipped: Sequence[Mapping[str, str]]) -> str:
    """Return the message about a set of which nothing can be read."""
    first = skipped[0]
    return f"{name}: none of its {len(skipped)} {what} can be read; the first, {first['id']}: {first['reason']}"


def _records(work: DescribingWork) -> tuple[dict[str, list[Any]], list[dict[str, str]]]:
    """Return the records of the pictures that can be read, as columns, and the others, each with the reason."""
    columns: dict[str, list[Any]] = {"id": [], "sha256": []}
    source = work.pictures
    if isinstance(source, GeneratedPictures):
        columns |= {"class": [], "seed": []}
    skipped = []
    for samples in source.dataset.shards():
        hashes, errors = work.facts(samples)
        skipped += [{"id": samples[i].id, "reason": reason} for i, reason in sorted(errors.items())]
        for i, sha256 in sorted(hashes.items()):
            columns["id"].append(samples[i].id)
            columns["sha256"].append(sha256)
            if isinstance(source, GeneratedPictures):
                columns["class"].append(int(samples[i].caption or 0))
                columns["seed"].append(source.seed(samples[i]))
    return columns, skipped


def _features(work: DescribingWork) -> tuple[FeatureBlocks, int]:
    """Return the stored features of all pictures, to be read block by block, and how many pictures they are of."""
    keys, n = [], 0
    for samples in work.pictures.dataset.shards():
        key = work.key(samples)
        count = len(work.store.need(KIND, key, ["index"])["index"])
        n += count
        if count:
            keys.append(key)
    return FeatureBlocks(work.store, KIND, keys, FEATURES, [None] * len(keys)), n


def _metrics(measured: Measurement, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of the metrics; a value is kept in the store, so that it is computed once for these shards.

    Intervals are those of other pictures of the same generator; the reference stays as it is.

    Args:
        measured: what is measured.
        names: the ids of the pictures, in the order of their features.
    """
    blocks, n = _features(measured.work)
    theirs, others = (None, 0) if measured.theirs is None else _features(measured.theirs)
    out: dict[str, dict[str, Any]] = {}
    for key in measured.run.protocol.score.metrics:
        metric, count = distance(key), None
        given: object = None
        if metric.of_references == "moments" and measured.reference.gaussian is not None:
            given, count = measured.reference.gaussian, measured.reference.n
        elif metric.of_references != "nothing":
            given, count = theirs, others
        reason = measured.absent.get(key, "")
        if not reason and given is None and metric.of_references != "nothing":
            reason = f"{metric.title} needs the reference's pictures, of which the file holds the statistics only"
        if reason:
            out[key] = {"value": None, "ci95": None, "n": n, "reason": reason}
        else:
            value, resampled = _value(metric, given, blocks, measured, names)
            out[key] = distance_entry(metric, value, n, count, resampled)
    return out


def _value(
    metric: DistanceMetric, given: object, blocks: FeatureBlocks, measured: Measurement, names: Sequence[str]
) -> tuple[float, Resampled]:
    """Return a metric's value and what its interval is made of; `given` is what it looks at in the reference."""
    sides: list[object] = [blocks.keys]
    if isinstance(given, FeatureBlocks):
        sides.append(given.keys)
    elif given is not None:
        sides.append(measured.reference.sha256)
    stored = digest([metric.key, metric.hashed(), measured.run.networks, sides])
    return stored_distance(measured.work.store, stored, metric, given, blocks, names, paired=False)


def _save_statistics(path: Path, measured: Measurement) -> None:
    """Write the statistics of the reference's pictures to a file that can be named as a reference itself."""
    assert measured.theirs is not None, "the suite computes the features for it"
    blocks, n = _features(measured.theirs)
    if n < 2:
        raise WrongValue(
            f"`save_statistics`: a covariance needs two photographs, and {measured.reference.name} has {n}"
        )
    moments = Moments.of(blocks)
    with disk_errors(path, "choose another `save_statistics`"):
        write_statistics(path, Gaussian(moments.mean, moments.covariance), n)


def publish_examples(work: DescribingWork, folder: Path, count: int | None) -> None:
    """Write a fixed random choice of a generator's pictures as PNG files; remove those of an earlier choice.

    Args:
        work: the pictures.
        folder: the result's folder.
        count: how many; None for all.
    """
    source = work.pictures
    if not isinstance(source, GeneratedPictures):
        return
    chosen = {sample.id for sample in source.dataset.limited(count).samples} if count != 0 else set()
    index = []
    with disk_errors(folder):
        for samples in source.dataset.shards():
            if chosen.isdisjoint(sample.id for sample in samples):
                continue
            for sample, data in zip(samples, source.files(samples), strict=True):
                if sample.id in chosen:
                    name = f"{sample.id}-class{int(sample.caption or 0):03}.png"
                    write_atomically(folder / "images" / name, data)
                    index.append({"sample": sample.id, "file": name, "class": int(sample.caption or 0)})
        write_atomically(folder / "images" / "index.json", to_json({"pictures": index}))
        names = {str(entry["file"]) for entry in index}
        for path in (folder / "images").glob("*.png"):
            if path.name not in names and EXAMPLE.fullmatch(path.name):
                path.unlink(missing_ok=True)


def publish_array(work: DescribingWork, folder: Path) -> Path:
    """Write the pictures that can be read to `samples.npz`, which ADM's evaluator takes, and return its path.

    A file of the same pictures that is there already stays.
    """
    path, source = folder / "samples.npz", work.pictures
    hashes: list[str] = []
    labels: list[int] = []
    for samples in source.dataset.shards():
        found, _ = work.facts(samples)
        hashes += [found[i] for i in sorted(found)]
        labels += [int(samples[i].caption or 0) for i in sorted(found)]
    note = digest(hashes).encode()

    def pictures() -> Iterator[np.ndarray]:
        for samples in source.dataset.shards():
            found, _ = source.read(samples)
            yield from (found[i] for i in sorted(found))

    if hashes and not _is_noted(path, note):
        with disk_errors(folder):
            known = labels if isinstance(source, GeneratedPictures) else None
            write_pictures(path, source.side, known, pictures(), len(hashes), note)
    return path


def _is_noted(path: Path, note: bytes) -> bool:
    """Return whether a file of pictures is whole and carries this note, the hash of its pictures."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == note
    except (OSError, zipfile.BadZipFile):
        return False


def markdown(results: Sequence[GfidResult], times: bool = False) -> str:
    """Return a Markdown table with a row per result; below TiTok's generators stand the FIDs of their README.

    Args:
        results: the results.
        times: whether seconds an image stand in it, which differ from run to run.
    """
    keys = list(dict.fromkeys(key for result in results for key in result.metrics))
    metrics: list[Metric] = [find(key) for key in keys]
    printed = published.table("titok_generation")
    seconds, timed_by = seconds_column(results) if times else ([], [])
    rows, is_printed = [], False
    for place, result in enumerate(results):
        cells = [number(metric, result.metrics.get(metric.key)) for metric in metrics]
        rows.append([result.data.pictures.name, *cells, str(result.n), *seconds[place : place + 1]])
        theirs = printed.rows.get(result.label.removesuffix("-gen"))
        if theirs is not None and "fid" in keys:
            cells = [f"{theirs['gfid']:g}" if key == "fid" else "-" for key in keys]
            rows.append([f"{result.label} (published)", *cells, str(PUBLISHED), *["-"] * bool(seconds)])
            is_printed = True
    head = ["pictures", *(metric.head for metric in metrics), "n", *["s/image ↓"] * bool(seconds)]
    align = ["left"] + ["right"] * (len(head) - 1)
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return (
        text + "\n\n" + "\n".join([*_notes(results, metrics, printed.source if is_printed else ""), *timed_by]) + "\n"
    )


def _notes(results: Sequence[GfidResult], metrics: Sequence[Metric], source: str) -> list[str]:
    """Return the footnotes of the table; `source` is that of published rows, "" where there are none."""
    reference = results[0].data.reference
    of = "" if reference.n is None else f", of {reference.n}"
    notes = [f"The reference is {printable(reference.name)} ({reference.kind}{of}, sha256 {reference.sha256[:12]})."]
    if "statistics" in reference.kind:
        notes.append("The file does not say how its features were computed; these resize images as TensorFlow 1 does.")
    entries = [(find(key).title, entry) for result in results for key, entry in result.metrics.items()]
    notes += missing_notes(entries)
    unreliable = [m for m in metrics if any(_is_unreliable(result, m.key) for result in results)]
    for metric in unreliable:
        notes.append(
            f"~ {metric.title} of fewer than {metric.reliable_from} images is not comparable with published numbers."
        )
    if any(result.n < PUBLISHED for result in results):
        notes.append(f"Published FIDs are of {PUBLISHED} pictures, and the FID of fewer is higher.")
    if source:
        notes.append(f"Published numbers: {source}; by ADM's evaluator, to its statistics of ImageNet's training set.")
    return notes


def _is_unreliable(result: GfidResult, key: str) -> bool:
    """Return whether a result has a value of a metric that is of too few pictures."""
    entry = result.metrics.get(key)
    return entry is not None and entry.value is not None and entry.reliable is False
