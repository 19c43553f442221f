"""GenEval results for the page: scores, and verdicts in a file a result."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.geneval.prompts import TASKS
from benchmarks.table import cell
from reports.page.found import Found, Results
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts

THUMBNAIL = 320  # px


def summary(results: Results, pictures: Pictures, scripts: Scripts) -> list[dict[str, Any]]:
    """A line a result; writes the verdicts' files."""
    lines = []
    for found in results.geneval:
        try:
            line = _line(found.result) | {"key": found.key, "folder": found.folder.name}
        except (KeyError, TypeError, AttributeError) as error:
            results.problems.append(
                {"what": found.folder.name, "why": f"result.json lacks what it should hold: {error}"}
            )
            continue
        verdicts = _verdicts(found, results, pictures)
        if verdicts is not None:
            line["pictures"] = sum(v["picture"] is not None for v in verdicts)
            line["verdicts"] = f"geneval-{found.key}"
            scripts.write(f"geneval-{found.key}", verdicts)
        lines.append(line)
    return lines


def _line(result: dict[str, Any]) -> dict[str, Any]:
    tags = [t for t in TASKS if t in result["tasks"]] + sorted(set(result["tasks"]) - set(TASKS))
    return {
        "name": str(result["generator"]["name"] if "generator" in result else result["images"]["name"]),
        "n": result["images"]["n"],
        "detector": str(result["detector"]["name"]),
        "colours": str(result["colours"]["name"]),
        "comparable": bool(result["comparable"]),
        "note": str(result["comparable_note"]),
        "tasks": [{"task": t, **_score(result["tasks"][t])} for t in tags],
        "overall": _score(result["overall"]),
        "prompts": _score(result["prompts"]),
        "leftOut": [{"id": str(n["id"]), "why": str(n.get("text", ""))} for n in result.get("left_out", [])][:100],
    }


def _score(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": entry["value"], "ci95": entry["ci95"], "n": entry["n"], "text": cell("geneval", entry),
        "prompts": entry.get("prompts"),
    }  # fmt: skip


def _verdicts(found: Found, results: Results, pictures: Pictures) -> list[dict[str, Any]] | None:
    from pyarrow import ArrowException, parquet

    path = found.folder / "records.parquet"
    try:
        records = parquet.read_table(path).to_pylist()
        return [_verdict(r, found, pictures) for r in records]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, ArrowException) as error:
        results.problems.append({"what": f"{found.folder.name}/records.parquet", "why": str(error).splitlines()[0]})
        return None


def _verdict(record: dict[str, Any], found: Found, pictures: Pictures) -> dict[str, Any]:
    file = found.folder / "annotated" / f"{record['id'].replace('/', '-')}.png"
    boxes = json.loads(record["boxes"] or "{}")
    colours = json.loads(record["colours"] or "{}")
    objects = [
        {"class": name, "colour": (colours.get(name) or [None] * (i + 1))[i : i + 1], "box": [round(x, 1) for x in box[:4]],
         "score": round(box[4], 3)}
        for name, found_boxes in boxes.items() for i, box in enumerate(found_boxes)
    ]  # fmt: skip
    return {
        "id": record["id"], "task": record["tag"], "prompt": record["prompt"], "correct": record["correct"],
        "reason": record["reason"], "error": record["error"], "objects": objects,
        "picture": pictures.add(file, THUMBNAIL) if "\0" not in file.name and file.is_file() else None,
    }  # fmt: skip
