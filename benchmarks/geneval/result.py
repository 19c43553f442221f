"""Write the verdicts on pictures as a result folder: scores with intervals, records, pictures with drawn verdicts."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.geneval import prompts, scorer, summary
from benchmarks.geneval.detectors import JudgeSpec
from benchmarks.geneval.folder import Entry, Folder, Note
from benchmarks.geneval.judge import Judges, JudgingWork, prompt_of
from lactok.errors import NothingMeasured, disk_errors, one_line
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.generated import SAMPLES, told_apart
from lactok.evaluation.results import GenEvalResult
from lactok.evaluation.table import missing_notes, number, seconds_column
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import folder_name, write_result
from lactok.metrics.registry import Metric

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "pillow")
COLUMNS = ("id", "tag", "prompt", "correct", "reason", "error", "boxes", "colours", "metadata", "sha256")
TEXT_COLUMNS = tuple(name for name in COLUMNS if name != "correct")


@dataclass(frozen=True)
class Subject:
    """What is judged: a folder of pictures, or a generator and the folder that it filled.

    Attributes:
        name: as in the name of the result folder.
        pictures: what the folder holds and what is wrong with it.
        generator: {"name", "samples" per prompt, "seed", "dtype", and "prompts" where they are not GenEval's}; None if
            nothing is known about the pictures' origin.
    """

    name: str
    pictures: Folder
    generator: dict[str, Any] | None = None

    def folder_name(self, judges: Judges, limit: int | None) -> str:
        """Return the name of the result folder.

        It is `geneval__<name>__<detector>-<colours>[__limit][__dtype][__seed][__samples][__prompts]`; what has its
        usual value is left out.
        """
        generator = self.generator or {}
        return folder_name(
            "geneval",
            self.name,
            f"{judges.detector.spec.name}-{judges.colours.spec.name}",
            limit=limit,
            dtype=generator.get("dtype", "float32"),
            seed=generator.get("seed", 0),
            more=told_apart(generator.get("samples", SAMPLES), generator.get("prompts")),
        )


def merge(
    subject: Subject, dataset: Dataset, work: JudgingWork, limit: int | None, folder: Path, timer: Timer
) -> GenEvalResult:
    """Write the result folder of pictures that are all judged, and return the result.

    Args:
        subject: what was judged.
        dataset: its pictures.
        work: the judges, and the store that holds the verdicts.
        limit: the number of prompts that was asked for, None for all.
        folder: the result folder.
        timer: the time that the work took.

    Raises:
        NothingMeasured: none of the pictures can be read.
    """
    found, judges = subject.pictures, work.judges
    rows, left_out, remarks = _rows(found, dataset, work)
    scored = [summary.Scored(r["tag"], r["metadata"], r["correct"]) for r in rows if r["correct"] is not None]
    if not scored:
        first, reason = min((row["id"], row["error"]) for row in rows)
        raise NothingMeasured(
            f"{found.name}: none of its {len(rows)} pictures can be read; the first, {first}: {reason}"
        )
    unknown = ""
    if found.unknown is not None:
        more = f" and {found.unknown.count - 1} more" if found.unknown.count > 1 else ""
        unknown = f"the task of {found.unknown.id}{more} is not known"
    tasks, over_all_tasks = summary.without_lost_tasks(*summary.scores(scored), found.tasks, unknown)
    against = obstacles(found.entries, left_out, judges)
    if against:
        comparable_note = f"not comparable with published GenEval scores: {'; '.join(against)}"
    else:
        comparable_note = "may stand beside published GenEval scores"
    detector = _described(judges.detector.spec, judges)
    detector |= {"threshold": judges.options.threshold, "counting_threshold": judges.options.counting_threshold}
    generator = subject.generator or {}
    content = {
        "suite": "geneval",
        "limit": limit,
        "pictures": {"name": generator.get("name", found.name), "generator": subject.generator},
        "dataset": {
            "name": found.name,
            "n": len(scored),
            "sha256": found.sha256,
            "prompts": len(found.entries),
            "skipped": [{"id": note.id, "reason": note.text} for note in left_out],
        },
        "detector": detector,
        "colours": _described(judges.colours.spec, judges),
        "scorer": {"version": scorer.VERSION, "options": vars(judges.options)},
        "run": {
            "dtype": generator.get("dtype", "float32"),
            "seed": generator.get("seed", 0),
            "device": work.run.device_kind,
        },
        "comparable": not against,
        "comparable_note": comparable_note,
        "metrics": tasks | over_all_tasks,
        "tasks": list(tasks),
        "remarks": [{"id": note.id, "reason": note.text} for note in remarks],
    }
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _copy_annotated(folder / "annotated", dataset, work)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    return GenEvalResult(folder, write_result(folder, content, columns, work.run, timer, LIBRARIES, TEXT_COLUMNS))


def _described(spec: JudgeSpec, judges: Judges) -> dict[str, Any]:
    """Return what a result says of one judge: name, version, licence, weights, and a note if it has one."""
    own = {asset.name for asset in spec.assets}
    assets = [
        {"name": name, "source": source, "sha256": sha256} for name, source, sha256 in judges.assets if name in own
    ]
    described: dict[str, Any] = {
        "name": spec.name,
        "version": spec.version,
        "license": spec.license,
        "assets": assets,
    }
    if spec.note:
        described["note"] = spec.note
    return described


def obstacles(entries: Sequence[Entry], left_out: Sequence[Note], judges: Judges) -> list[str]:
    """Return in words why the scores may not stand beside published ones; nothing if they may."""
    against = []
    for what, spec in (("detector", judges.detector.spec), ("colour classifier", judges.colours.spec)):
        if not spec.comparable:
            against.append(f"{spec.name} is not the official {what}")
    official = {json.dumps(p) for p in prompts.official()}
    asked = {json.dumps(e.prompt) for e in entries if e.pictures}
    if asked - official:
        against.append(f"{len(asked - official)} of {len(asked)} prompts are not GenEval's")
    if official - asked:
        against.append(f"{len(official - asked)} of GenEval's {len(official)} prompts are not here")
    uneven = [e for e in entries if len(e.pictures) != SAMPLES]
    if uneven:
        have = "1 prompt has" if len(uneven) == 1 else f"{len(uneven)} prompts have"
        against.append(f"{have} more or fewer than {SAMPLES} samples")
    if left_out:
        against.append(f"{sum(note.count for note in left_out)} folders or pictures are left out")
    return against


def _records(dataset: Dataset, work: JudgingWork) -> list[tuple[Sample, dict[str, Any]]]:
    """Return every picture with its stored record."""
    pairs: list[tuple[Sample, dict[str, Any]]] = []
    for shard in dataset.shards():
        pairs += zip(shard, work.need(shard), strict=True)
    return pairs


def _rows(found: Folder, dataset: Dataset, work: JudgingWork) -> tuple[list[dict[str, Any]], list[Note], list[Note]]:
    """Return a row of `COLUMNS` per picture, notes on what is left out, and notes on what is unusual."""
    rows: list[dict[str, Any]] = []
    left_out, remarks = list(found.left_out), list(found.remarks)
    for picture, record in _records(dataset, work):
        prompt = prompt_of(picture)
        error = record.get("error")
        if error is not None:
            left_out.append(Note(picture.id, error))
        elif record["remark"]:
            remarks.append(Note(picture.id, record["remark"]))
        rows.append(
            {
                "id": picture.id,
                "tag": prompt["tag"],
                "prompt": prompt["prompt"],
                "correct": record.get("correct"),
                "reason": record.get("reason"),
                "error": error,
                "boxes": json.dumps(record.get("boxes", {})),
                "colours": json.dumps(record.get("colours", {})),
                "metadata": picture.metadata,
                "sha256": picture.sha256,
            }
        )
    return rows, sorted(left_out, key=lambda n: n.id), sorted(remarks, key=lambda n: n.id)


_DRAWN = re.compile(r"[0-9]{5}-[0-9]{4}\.png")  # the names of the drawn verdicts of pictures in GenEval's layout


def _copy_annotated(folder: Path, dataset: Dataset, work: JudgingWork) -> None:
    """Bring the drawn verdicts of these pictures into a folder; make none if nothing was drawn.

    Those of an earlier run are removed; what others put there stays.
    """
    drawn, ours = set(), set()
    for shard in dataset.shards():
        key = work.verdicts_key(shard)
        for sample, record in zip(shard, work.need(shard), strict=True):
            file = f"{sample.id.replace('/', '-')}.png"
            ours.add(file)
            if work.should_draw(record):
                work.store.publish(work.picture_key(key, sample), folder / file)
                drawn.add(file)
    for path in folder.glob("*.png"):
        if path.name not in drawn and (path.name in ours or _DRAWN.fullmatch(path.name)):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not there, or holds something
        folder.rmdir()


def system_name(result: GenEvalResult) -> str:
    """Return the name of the generator, or of the folder of pictures, that a result is about."""
    generator = result.data.pictures.generator
    return generator.name if generator else result.dataset


def markdown(results: Sequence[GenEvalResult], times: bool = False) -> str:
    """Return a Markdown table with a row per result: the tasks, the overall score, the share of prompts.

    Args:
        results: the results.
        times: whether the seconds an image of generators stand in it too; they differ from run to run.
    """
    from tabulate import tabulate

    found = {tag for r in results for tag in r.data.tasks}
    tags = [t for t in prompts.TASKS if t in found] + sorted(found - set(prompts.TASKS))
    columns = [*tags, "overall", "prompts"]
    head = ["images", *(one_line(tag, None).replace("|", "\\|") for tag in tags), "overall ↑", "prompts", "n"]
    rows = []
    for r in results:
        cells = [number(Metric(key, key, True), r.metrics.get(key)) for key in columns]
        name = system_name(r)
        rows.append([name if r.data.comparable else f"{name}*", *cells, str(r.n)])
    seconds, timed = seconds_column(results) if times else ([], [])
    if seconds:
        head.append("s/image ↓")
        rows = [[*row, cell] for row, cell in zip(rows, seconds, strict=True)]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(head) - 1))
    notes = [
        "± is half the 95 % bootstrap interval, prompts resampled; overall is the mean of the tasks; prompts is the "
        "share with a correct image."
    ]
    notes += timed
    notes += missing_notes(
        (one_line(key, None), r.metrics[key]) for r in results for key in columns if key in r.metrics
    )
    others = dict.fromkeys(r.data.comparable_note for r in results if not r.data.comparable)
    return f"{text}\n\n" + "\n".join([*notes, *(f"* {note}" for note in others)]) + "\n"
