"""GenEval results for the page: their scores, and for each result a file with the verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os.path import isfile  # False for names that no file can have, where Path.is_file raises an error
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, Json, ValidationError

from benchmarks.geneval.prompts import TASKS
from lactok.errors import UserError, one_line
from lactok.evaluation.results import GenEvalResult
from lactok.evaluation.table import missing_notes, number
from reports.page.pictures import Pictures
from reports.page.rows import key
from reports.page.scripts import Scripts

THUMBNAIL = 320  # the longer side in pixels
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]  # left, top, right, bottom, score


class Record(BaseModel):
    """A row of the records, with what it holds as JSON.

    Attributes:
        boxes: the boxes of the objects that counted, by class.
        colours: by class, the colours of the first of these.
        id, tag, prompt, correct, reason, error: as `benchmarks.geneval.result` writes them.
    """

    model_config = ConfigDict(strict=True)

    id: str
    tag: str
    prompt: str
    correct: bool | None
    reason: str | None
    error: str | None
    boxes: Json[dict[str, list[Box]]]
    colours: Json[dict[str, list[str]]]


def summary(
    results: Sequence[GenEvalResult], pictures: Pictures, scripts: Scripts, problems: list[str]
) -> list[dict[str, Any]]:
    """Return the scores of each result; write the files of verdicts and add to `problems` what cannot be read."""
    lines = []
    for result in results:
        line = _line(result)
        try:
            verdicts = [_verdict(r, result, pictures) for r in result.records.to_dict("records")]
        except UserError as error:
            problems.append(str(error))
        except ValueError as error:  # columns are missing, or hold other things
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
            problems.append(f"left out: {result.name!a}: records.parquet is damaged ({one_line(what)})")
        else:
            line["verdicts"] = f"geneval-{line['key']}"
            line["pictures"] = len([v for v in verdicts if v["picture"] is not None])
            scripts.write(line["verdicts"], verdicts)
        lines.append(line)
    return lines


def _line(result: GenEvalResult) -> dict[str, Any]:
    """Return what the page shows of a result."""
    tasks = result.data.tasks
    note = " ".join([result.data.comparable_note, *missing_notes(result.metrics.items())])
    if re.fullmatch(r"scenes-\d+x\d+-seed\d+", result.label):  # as `python -m benchmarks.geneval --scenes` names them
        note = (
            f"{note.removesuffix('.')}. Composed scenes try the judges: a third of them break their caption on "
            "purpose, and a judge that sees well calls these wrong."
        )
    tags = [t for t in TASKS if t in tasks] + sorted(set(tasks) - set(TASKS))
    return {
        "key": key(result),
        "name": result.label,
        "n": result.n,
        "detector": result.data.detector.name,
        "comparable": result.data.comparable,
        "note": note,
        "tasks": [{"task": t, **_score(result, t)} for t in tags],
        "overall": _score(result, "overall"),
        "prompts": _score(result, "prompts"),
        "pictures": 0,
    }


def _score(result: GenEvalResult, metric: str) -> dict[str, Any]:
    """Return a score as a number (None where there is none) and as text."""
    entry = result.metrics.get(metric)
    value = None if entry is None else entry.value
    return {"value": value, "text": number(result.metric(metric), entry)}


def _verdict(record: dict[str, Any], result: GenEvalResult, pictures: Pictures) -> dict[str, Any]:
    """Return what was asked of one picture, found in it and decided; missing texts are None.

    Raises:
        ValueError: the record is not one of GenEval.
    """
    import pandas

    known = {name: None if pandas.isna(value) else value for name, value in record.items()}
    for name in ("boxes", "colours"):
        known[name] = known.get(name) or "{}"
    read = Record.model_validate(known)
    objects = []
    for name, boxes in read.boxes.items():
        known_colours = read.colours.get(name, [])
        for i, (*corners, score) in enumerate(boxes):
            colour = known_colours[i] if i < len(known_colours) else None
            box = [round(x, 1) for x in corners]
            objects.append({"class": name, "colour": colour, "box": box, "score": round(score, 3)})
    file = read.id.replace("/", "-") + ".png"
    path = result.folder / "annotated" / file
    return {
        "id": read.id,
        "task": read.tag,
        "prompt": read.prompt,
        "correct": read.correct,
        "reason": read.reason,
        "error": read.error,
        "objects": objects,
        "picture": pictures.add(path, THUMBNAIL) if isfile(path) else None,
    }
