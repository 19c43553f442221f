"""GenEval results for the page: scores, and verdicts in a file a result."""

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

THUMBNAIL = 320  # px


def summary(
    results: Sequence[GenEvalResult], pictures: Pictures, scripts: Scripts, problems: list[str]
) -> list[dict[str, Any]]:
    """A line a result; writes the verdicts' files and adds to `problems` what cannot be read."""
    lines = []
    for result in results:
        line = _line(result)
        try:
            verdicts = [_verdict(r, result, pictures) for r in result.records.to_dict("records")]
        except UserError as error:
            problems.append(str(error))
        except (KeyError, ValueError, TypeError, AttributeError) as error:  # columns or boxes of another kind
            problems.append(f"left out: {result.name!a}: records.parquet is damaged ({error!r})")
        else:
            line |= {"verdicts": f"geneval-{line['key']}", "pictures": sum(v["picture"] is not None for v in verdicts)}
            scripts.write(line["verdicts"], verdicts)
        lines.append(line)
    return lines


def _line(result: GenEvalResult) -> dict[str, Any]:
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
    entry = result.metrics.get(metric)
    return {"value": entry and entry.value, "text": number(result.metric(metric), entry)}


def _verdict(record: dict[str, Any], result: GenEvalResult, pictures: Pictures) -> dict[str, Any]:
    """One picture's: what was asked, found and decided; texts that are missing are None."""
    import pandas

    known = {k: None if pandas.isna(v) else v for k, v in record.items()}
    colours = json.loads(known["colours"] or "{}")
    objects = [
        {"class": name, "colour": seen, "box": [round(x, 1) for x in box[:4]], "score": round(box[4], 3)}
        for name, boxes in json.loads(known["boxes"] or "{}").items()
        for box, seen in zip(boxes, [*colours.get(name, ()), *[None] * len(boxes)], strict=False)
    ]
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
