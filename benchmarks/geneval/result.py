"""Verdicts to a result folder: `result.json` and `records.parquet` (the same bytes every time), pictures."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.geneval import prompts, scorer, summary
from benchmarks.geneval.folder import SAMPLES, Entry, Folder, Note
from benchmarks.geneval.judge import Judges
from lactok.errors import disk_errors
from lactok.evaluation.executors import Timer
from lactok.evaluation.store import folder_safe, write_atomically

SCHEMA = 1
LIBRARIES = ("torch", "transformers", "numpy", "scipy", "pillow")


@dataclass(frozen=True)
class Subject:
    """What is judged: a folder of pictures, or a generator and the folder that it filled.

    Attributes:
        name: as in the result folder's name.
        suffix: of that name: limit, dtype, seed and samples where they are not the usual ones.
        generator: {"name", "samples", "seed", "dtype"}, or None for a folder of somebody's pictures.
    """

    name: str
    pictures: Folder
    suffix: tuple[str, ...] = ()
    generator: dict[str, Any] | None = None

    def folder_name(self, judges: Judges) -> str:
        """`geneval__<what>__<detector>-<colours>[__limit][__dtype][__seed][__samples]`."""
        parts = ["geneval", self.name, f"{judges.detector.spec.name}-{judges.colours.spec.name}", *self.suffix]
        return "__".join(folder_safe(part) for part in parts)


def merge(subject: Subject, judges: Judges, sources: dict[str, str], folder: Path, timer: Timer) -> dict[str, Any]:
    """Write a result folder from its finished prompts and return the result.

    Args:
        sources: of the judges' assets by name, where each came from.
    """
    rows, left_out, remarks = _rows(subject.pictures, judges)
    scored = [summary.Scored(r["tag"], r["metadata"], r["correct"]) for r in rows if r["correct"] is not None]
    found = subject.pictures
    against = obstacles(found.entries, left_out, judges)
    result = {
        "schema": SCHEMA,
        "suite": "geneval",
        **({"generator": subject.generator} if subject.generator else {}),
        "images": {
            "name": found.name,
            "prompts": len(found.entries),
            "n": len(scored),
            "sha256": found.sha256,
        },
        "detector": _described(judges.detector.spec, judges, sources)
        | {"threshold": judges.options.threshold, "counting_threshold": judges.options.counting_threshold},
        "colours": _described(judges.colours.spec, judges, sources),
        "scorer": {"version": scorer.VERSION, "options": vars(judges.options)},
        "run": {"device": judges.device.partition(":")[0]},
        "comparable": not against,
        "comparable_note": "may stand beside published GenEval scores"
        if not against
        else f"not comparable with published GenEval scores: {'; '.join(against)}",
        **summary.scores(scored),
        "left_out": [vars(note) for note in left_out],
        "remarks": [vars(note) for note in remarks],
    }
    from lactok.evaluation.results import environment, to_json

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_records(folder / "records.parquet", rows)
        _copy_annotated(folder / "annotated", found.entries, judges)
        if timer.wall or not (folder / "run.json").exists():  # a run that judged nothing has no times of its own
            write_atomically(folder / "run.json", to_json(environment(judges.device, timer, LIBRARIES)))
        write_atomically(folder / "result.json", to_json(result))
    return result


def _described(spec: Any, judges: Judges, sources: dict[str, str]) -> dict[str, Any]:
    digests = dict(judges.digests)
    assets = [{"name": a.name, "source": sources[a.name], "sha256": digests[a.name]} for a in spec.assets]
    described = {"name": spec.name, "version": spec.version, "license": spec.license, "assets": assets}
    return described | ({"note": spec.note} if spec.note else {})


def obstacles(entries: Sequence[Entry], left_out: Sequence[Note], judges: Judges) -> list[str]:
    """Why scores may not stand beside published ones, in words; empty where they may."""
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
    uneven = sum(len(e.pictures) != SAMPLES for e in entries)
    if uneven:
        against.append(f"{uneven} prompts have not {SAMPLES} samples")
    if left_out:
        against.append(f"{len(left_out)} folders or pictures are left out")
    return against


def _rows(found: Folder, judges: Judges) -> tuple[list[dict[str, Any]], list[Note], list[Note]]:
    """A row a picture, what is left out and what is unusual."""
    rows: list[dict[str, Any]] = []
    left_out, remarks = list(found.left_out), list(found.remarks)
    for entry in found.entries:
        for picture, record in zip(entry.pictures, judges.need(entry), strict=True):
            error = record.get("error")
            if error is not None:
                left_out.append(Note(picture.id, error))
            elif record["remark"]:
                remarks.append(Note(picture.id, record["remark"]))
            rows.append({
                "id": picture.id, "tag": entry.prompt["tag"], "prompt": entry.prompt["prompt"],
                "correct": record.get("correct"), "reason": record.get("reason"), "error": error,
                "boxes": json.dumps(record.get("boxes", {})), "colours": json.dumps(record.get("colours", {})),
                "metadata": json.dumps(entry.prompt), "sha256": picture.sha256,
            })  # fmt: skip
    return rows, sorted(left_out, key=lambda n: n.id), sorted(remarks, key=lambda n: n.id)


def _write_records(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas

    frame = pandas.DataFrame(rows)
    frame["correct"] = frame["correct"].astype("boolean")
    for column in frame.columns.drop("correct"):
        # a lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark
        frame[column] = frame[column].map(_utf8, na_action="ignore").astype("string")
    out = io.BytesIO()
    frame.to_parquet(out, engine="pyarrow", index=False)
    write_atomically(path, out.getvalue())


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _copy_annotated(folder: Path, entries: Sequence[Entry], judges: Judges) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for entry in entries:
        for i, record in enumerate(judges.need(entry)):
            if judges.wanted(record):
                folder.mkdir(exist_ok=True)
                source = judges.store.picture(judges.picture_key(entry, i))
                shutil.copyfile(source, folder / f"{entry.pictures[i].id.replace('/', '-')}.png")


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """A row a result: the tasks, the overall score, the share of prompts."""
    from tabulate import tabulate

    from lactok.evaluation.table import cell

    found = {tag for r in results for tag in r["tasks"]}
    tags = [t for t in prompts.TASKS if t in found] + sorted(found - set(prompts.TASKS))
    head = ["images", *tags, "overall ↑", "prompts", "n"]
    rows = []
    for r in results:
        name = r["generator"]["name"] if "generator" in r else r["images"]["name"]
        cells = [cell("geneval", e) for e in (*map(r["tasks"].get, tags), r["overall"], r["prompts"])]
        rows.append([name if r["comparable"] else f"{name}*", *cells, str(r["images"]["n"])])
    text = tabulate(
        rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(head) - 1)
    )  # fmt: skip
    notes = [
        "± is half the 95 % bootstrap interval, prompts resampled; overall is the mean of the tasks; prompts is the "
        "share with a correct image."
    ]
    notes += [f"* {note}" for note in dict.fromkeys(r["comparable_note"] for r in results if not r["comparable"])]
    return f"{text}\n\n" + "\n".join(notes) + "\n"
