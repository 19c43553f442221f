"""Which pictures the viewer shows: a photograph and what every tokenizer made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.protocol import PER_IMAGE
from reports.page.pictures import Pictures
from reports.stored import ReconResult

THUMBNAIL = 128  # px
REASONS = ("chosen", "best", "worst")
MOST = 200  # pictures of a row, best and worst ones first; more would make the page slow to build and to open


class Groups:
    """Samples with pictures, by data set and preparation: what may stand side by side.

    Args:
        problems: what cannot be read is added to it, a line each.
    """

    def __init__(self, pictures: Pictures, problems: list[str]):
        self.pictures, self.problems = pictures, problems
        self._groups: dict[str, dict[str, dict[str, Any]]] = {}

    def add(self, result: ReconResult, key: str, group: str, records: dict[str, list[Any]]) -> None:
        """A row's stored pictures with their scores."""
        stored, references = self._stored(result, records["id"])
        if not stored:
            return
        if len(stored) > MOST:
            self.problems.append(f"left out: {result.name!a}: the page shows {MOST} of its {len(stored)} pictures")
            stored = sorted(stored, key=lambda kept: kept[2] == ["chosen"])[:MOST]
        index = {sample: i for i, sample in enumerate(records["id"])}
        samples = self._groups.setdefault(group, {})
        for sample, file, why in stored:
            i = index.get(sample)
            picture = self.pictures.add(result.folder / "images" / file, THUMBNAIL)
            if i is None or picture is None:
                continue
            blank = {"id": sample, "caption": records["caption"][i], "photo": None, "rows": {}}
            entry = samples.setdefault(sample, blank)
            if entry["photo"] is None and references is not None and (references / file).is_file():
                entry["photo"] = self.pictures.add(references / file, THUMBNAIL)
            scores = {m: records[m][i] for m in PER_IMAGE if m in records}
            entry["rows"][key] = {**picture, "why": why, "scores": scores}

    def described(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """For each group its title and its samples in the order of ids."""
        titles = {r["group"]: r["pictured"] for r in rows}
        found = [
            {"key": key, "title": titles[key], "samples": [samples[i] for i in sorted(samples)]}
            for key, samples in self._groups.items()
            if samples
        ]
        return sorted(found, key=lambda g: (g["title"], g["key"]))

    def _stored(self, result: ReconResult, ids: list[str]) -> tuple[list[tuple[str, str, list[str]]], Path | None]:
        """(sample, file, why) of every picture, and the folder of the photographs, if the run kept them."""
        folder = result.folder / "images"
        if (folder / "index.json").is_file():
            try:
                index = json.loads((folder / "index.json").read_bytes())
                named = [(str(p["sample"]), str(p["file"]), p["why"]) for p in index["pictures"]]
                references = str(index["references"])
                stored = [(s, f, [w for w in REASONS if w in why]) for s, f, why in named if _is_plain(f)]
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.problems.append(f"left out: {result.name!a}: images/index.json is damaged ({error})")
                return [], None
            return stored, result.folder.parent / "references" / references if _is_plain(references) else None
        # a run of before there was an index: a file is named after its sample
        files = {p.name for p in folder.glob("*.png")} if folder.is_dir() else set()
        named_after = {sample: re.sub(r"[^A-Za-z0-9.-]+", "_", sample) + ".png" for sample in ids} if files else {}
        return [(sample, file, ["chosen"]) for sample, file in named_after.items() if file in files], None


def _is_plain(name: str) -> bool:
    """The name of a file in its folder, and no way out of it.

    >>> [_is_plain(n) for n in ("a.png", "../a.png", "..", "")]
    [True, False, False, False]
    """
    return bool(name) and name != ".." and Path(name).name == name and "\\" not in name and "\0" not in name
