"""Which pictures the viewer shows: a photograph and what every tokenizer made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.protocol import PER_IMAGE
from reports.page.found import Found
from reports.page.pictures import Pictures

THUMBNAIL = 128  # px
REASONS = ("chosen", "best", "worst")


class Groups:
    """Samples with pictures, by data set and preparation: what may stand side by side."""

    def __init__(self, runs: Path, pictures: Pictures, problems: list[dict[str, str]]):
        self.runs, self.pictures, self.problems = runs, pictures, problems
        self._groups: dict[str, dict[str, dict[str, Any]]] = {}

    def add(self, found: Found, group: str, records: dict[str, list[Any]]) -> None:
        """The stored pictures of a row, with their scores from its records."""
        stored, references = self._stored(found, records["id"])
        if not stored:
            return
        index = {sample: i for i, sample in enumerate(records["id"])}
        samples = self._groups.setdefault(group, {})
        for sample, file, why in stored:
            i = index.get(sample)
            picture = self.pictures.add(found.folder / "images" / file, THUMBNAIL)
            if i is None or picture is None:
                continue
            entry = samples.setdefault(
                sample, {"id": sample, "caption": records["caption"][i], "photo": None, "rows": {}}
            )
            if entry["photo"] is None and references is not None and (references / file).is_file():
                entry["photo"] = self.pictures.add(references / file, THUMBNAIL)
            scores = {m: records[m][i] for m in PER_IMAGE if m in records}
            entry["rows"][found.key] = {**picture, "why": why, "scores": scores}

    def described(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """For each group its title and its samples in the order of ids."""
        titles = {r["group"]: f"{r['dataset']}, {r['resolution']} px" for r in reversed(rows)}
        return [
            {"key": key, "title": titles.get(key, key), "samples": [samples[i] for i in sorted(samples)]}
            for key, samples in sorted(self._groups.items(), key=lambda item: (titles.get(item[0], ""), item[0]))
            if samples
        ]

    def _stored(self, found: Found, ids: list[str]) -> tuple[list[tuple[str, str, list[str]]], Path | None]:
        """(sample, file, why) of every picture, and the folder of the photographs, if the run kept them."""
        folder = found.folder / "images"
        index = folder / "index.json"
        if index.is_file():
            try:
                listed = json.loads(index.read_bytes())
                pictures = [
                    (str(p["sample"]), str(p["file"]), [w for w in REASONS if w in p.get("why", ())])
                    for p in listed["pictures"]
                    if _plain(str(p["file"]))
                ]
                references = str(listed.get("references") or "")
                return pictures, self.runs / "references" / references if _plain(references) else None
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.problems.append({"what": f"{found.folder.name}/images/index.json", "why": str(error)})
                return [], None
        files = {p.name for p in folder.glob("*.png")} if folder.is_dir() else set()
        if not files:
            return [], None
        named = ((sample, re.sub(r"[^A-Za-z0-9.-]+", "_", sample) + ".png") for sample in ids)
        return [(sample, file, ["chosen"]) for sample, file in named if file in files], None


def _plain(name: str) -> bool:
    """The name of a file in its folder, and no way out of it."""
    return bool(name) and Path(name).name == name and "\\" not in name and "\0" not in name and name != ".."
