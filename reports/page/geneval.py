"""GenEval results for the page: their scores, and for each result a file with the verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.geneval.prompts import TASKS
from lactok.errors import UserError
from lactok.evaluation.results import GenEvalResult
from lactok.evaluation.table import number
from reports.page.pictures import Pictures
from reports.page.rows import key
from reports.page.scripts import Scripts

THUMBNAIL = 320  # the longer side in pixels


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
        except (KeyError, ValueError, TypeError, AttributeError) as error:  # columns are missing, or hold other things
            problems.append(f"left out: {result.name!a}: records.parquet is damaged ({error!r})")
        else:
            line["verdicts"] = f"geneval-{line['key']}"
            line["pictures"] = len([v for v in verdicts if v["picture"] is not None])
            scripts.write(line["verdicts"], verdicts)
        lines.append(line)
    return lines


def _line(result: GenEvalResult) -> dict[str, Any]:
    """Return what the page shows of a result."""
    tasks = result.data.tasks
    tags = [t for t in TASKS if t in tasks] + sorted(set(tasks) - set(TASKS))
    return {
        "key": key(result),
        "name": result.label,
        "n": result.n,
        "detector": result.data.detector.name,
        "comparable": result.data.comparable,
        "note": result.data.comparable_note,
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
    """Return what was asked of one picture, found in it and decided; missing texts are None."""
    import pandas

    known = {k: None if pandas.isna(v) else v for k, v in record.items()}
    colours = json.loads(known["colours"] or "{}")
    objects = []
    for name, boxes in json.loads(known["boxes"] or "{}").items():
        known_colours = list(colours.get(name, ()))
        for i, box in enumerate(boxes):
            colour = known_colours[i] if i < len(known_colours) else None
            corners = [round(x, 1) for x in box[:4]]
            objects.append({"class": name, "colour": colour, "box": corners, "score": round(box[4], 3)})
    file = str(known["id"]).replace("/", "-") + ".png"
    path = result.folder / "annotated" / file
    return {
        "id": known["id"],
        "task": known["tag"],
        "prompt": known["prompt"],
        "correct": known["correct"],
        "reason": known["reason"],
        "error": known["error"],
        "objects": objects,
        "picture": pictures.add(path, THUMBNAIL) if "\0" not in file and path.is_file() else None,
    }
