"""How many of the constructed pairs are true, before the filters and after them, by what the composer knows."""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes import reading, truth
from lactok.errors import WrongValue
from lactok.outside_text import shown


def records(folder: Path) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Yield whether each pair of a folder that `python -m lactok.data` wrote was kept, and what its .json says.

    Raises:
        WrongValue: the folder has no such pairs, or a shard is damaged.
    """
    shards = [
        (kept, path)
        for kept, name in ((True, "pairs"), (False, "rejected"))
        for path in sorted((folder / name).glob("*.tar"))
    ]
    if not shards:
        raise WrongValue(f"{shown(folder, 200)} has no pairs; make some by `python -m lactok.data`")
    for kept, path in shards:
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".json") and (file := tar.extractfile(member)) is not None:
                        yield kept, json.loads(file.read())
        except (tarfile.TarError, ValueError, OSError) as error:
            raise WrongValue(f"{shown(path, 200)} is damaged ({error}); make it again") from error


def summarize(folder: Path) -> dict[str, dict[str, int]]:
    """Count the pairs of a folder, and of these the true ones, by task and over all.

    Returns:
        task -> {"before", "true_before", "after", "true_after"}: pairs with a caption, and of these the true ones,
        before the filters and after them.

    Raises:
        WrongValue: there are no pairs, or their pictures are not composed scenes.
    """
    found: dict[str, dict[str, int]] = {}
    for kept, record in records(folder):
        if not record["caption"]:
            continue
        asked = reading.read(record["caption"])
        if asked is None or "objects" not in record["facts"]:
            raise WrongValue(f"{shown(folder, 200)} has other pairs than those of composed scenes and their captions")
        is_true = truth.holds(asked, record["facts"])
        for task in (asked["tag"], "overall"):
            row = found.setdefault(task, {"before": 0, "true_before": 0, "after": 0, "true_after": 0})
            row["before"] += 1
            row["true_before"] += is_true
            row["after"] += kept
            row["true_after"] += kept and is_true
    return {task: found[task] for task in (*TASKS, "overall") if task in found}


def interval(true: int, of: int) -> str:
    """Return a share in percent with its 95 % interval (Wilson's), "" of nothing.

    >>> interval(97, 100)
    '97.0 % (91.5 to 99.0)'
    """
    if not of:
        return ""
    share, z = true / of, 1.959964
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{100 * share:.1f} % ({100 * (centre - half):.1f} to {100 * (centre + half):.1f})"


def table(summary: Mapping[str, Mapping[str, int]]) -> str:
    """Return what `summarize` returned as a Markdown table."""
    from tabulate import tabulate

    rows = []
    for task, row in summary.items():
        lost = row["true_before"] - row["true_after"]
        refused = f"{100 * lost / row['true_before']:.1f} %" if row["true_before"] else ""
        before, after = (interval(row[f"true_{when}"], row[when]) for when in ("before", "after"))
        rows.append([task, row["before"], before, row["after"], after, refused])
    head = ["task", "pairs", "true before", "kept", "true after", "true ones rejected"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)
