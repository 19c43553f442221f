"""A whole construction: its steps over the shards that are missing, then the counts of all."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lactok import outside_text
from lactok.data import shards, steps
from lactok.data.construction import Construction
from lactok.data.work import Work, unfinished
from lactok.errors import UserError, disk_errors
from lactok.evaluation.executors import Executor
from lactok.evaluation.progress import progress
from lactok.evaluation.timing import Timer
from lactok.files import tidy, write_atomically

TOTALS, RUN = "counts.json", "run.json"


def missing_shards(construction: Construction) -> list[str]:
    """Return the shards that are not finished, or are to have more pairs than they have."""
    return [s for s in construction.shards() if not shards.is_done(construction.out, s, len(construction.numbers(s)))]


def construct(construction: Construction, executor: Executor) -> dict[str, Any]:
    """Make all shards that are missing, and return the counts of all that are there.

    Args:
        construction: what is to be made; it has been checked.
        executor: runs the steps' work.

    Raises:
        UserError: weights cannot be had, the folder holds pairs of other settings, a stage failed, or a disk is full.
    """
    out = construction.out
    settings = construction.settings()
    with disk_errors(out):
        construction.claim(settings)
        tidy(out)
        mark = {"rejected_by": [str(rule) for rule in construction.rules]}
        write_atomically(out / shards.REJECTED / shards.MARK, (json.dumps(mark) + "\n").encode())
        todo = missing_shards(construction)
        for name in unfinished(out):  # of a run that was killed when a shard was written and its work still there
            if name not in todo and shards.counts_of(out, name) is not None:
                Work(out, name).remove()
        for step in steps.steps(construction) if todo else ():
            with progress(step, len(todo)) as report:
                arguments = (construction, step)
                try:
                    timer = executor.run(steps.work, todo, steps.start, arguments, construction.device, report)
                finally:
                    steps.end()
            _note(out, timer)
        found = shards.totals(out)
        write_atomically(out / TOTALS, (json.dumps(found, indent=1) + "\n").encode())
    return found


def _note(out: Path, timer: Timer) -> None:
    """Add the times of a step to those of earlier calls in run.json."""
    before = times(out)
    steps_now = {
        name: {
            "seconds": round(before.get(name, {}).get("seconds", 0.0) + seconds, 3),
            "pairs": before.get(name, {}).get("pairs", 0) + timer.images.get(name, 0),
        }
        for name, seconds in timer.wall.items()
    }
    machine = {"host": platform.node(), "cpus": os.cpu_count(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("lactok", "torch", "pillow")}
    record = {"steps": before | steps_now, "machine": machine, "versions": versions}
    write_atomically(out / RUN, (json.dumps(record, indent=1) + "\n").encode())


def times(out: Path) -> dict[str, dict[str, float]]:
    """Return the seconds of each step so far and for how many pairs, as run.json says it; nothing if it cannot."""
    try:
        found = outside_text.json_object(outside_text.read(out / RUN), RUN).get("steps", {})
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def report(construction: Construction, found: dict[str, Any]) -> str:
    """Return the counts as the lines of a table: how many pairs came how far, and why the others did not."""
    pairs = found.get("pairs", 0)
    rows = [("pairs", pairs, ""), ("with a picture", found.get("pictures", 0), "")]
    long = found.get("long_captions", 0)
    rows.append(
        ("with a caption", found.get("captions", 0), f"{long} longer than {shards.WORDS} words" if long else "")
    )
    rows += [(str(rule), found["passed"].get(rule.name, 0), "of those with a caption") for rule in construction.rules]
    kept = found.get("kept", 0)
    rows.append(("kept", kept, f"{100 * kept / pairs:.1f} %" if pairs else ""))
    rows += [(f"rejected: {name}", number, "") for name, number in found["rejected"].items()]
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{name:<{width}}  {number:>9,}  {note}".rstrip() for name, number, note in rows)
