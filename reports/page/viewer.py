"""Which pictures the viewer shows: a photograph and what every tokenizer made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lactok.errors import UserError
from lactok.evaluation.results import ReconResult
from reports import pictures
from reports.page.pictures import Pictures
from reports.pictures import Picture

THUMBNAIL = 128  # px
NO_METRICS = ("id", "caption", "bits", "near_ties")  # of the columns of records, all others are
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
        """A row's kept pictures with their scores."""
        kept = self._kept(result, records["id"])
        if len(kept) > MOST:
            self.problems.append(f"left out: {result.name!a}: the page shows {MOST} of its {len(kept)} pictures")
            kept = sorted(kept, key=lambda picture: picture.why == ("chosen",))[:MOST]
        index = {sample: i for i, sample in enumerate(records["id"])}
        for picture in kept:
            i = index.get(picture.sample)
            shown = self.pictures.add(picture.path, THUMBNAIL)
            if i is None or shown is None:
                continue
            blank = {"id": picture.sample, "caption": records["caption"][i], "photo": None, "rows": {}}
            entry = self._groups.setdefault(group, {}).setdefault(picture.sample, blank)
            if entry["photo"] is None and picture.reference.is_file():
                entry["photo"] = self.pictures.add(picture.reference, THUMBNAIL)
            scores = {m: values[i] for m, values in records.items() if m not in NO_METRICS}
            entry["rows"][key] = {**shown, "why": picture.why, "scores": scores}

    def described(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """For each group its title and its samples in the order of ids."""
        titles = {r["group"]: r["pictured"] for r in rows}
        found = [
            {"key": key, "title": titles[key], "samples": [samples[i] for i in sorted(samples)]}
            for key, samples in self._groups.items()
        ]
        return sorted(found, key=lambda g: (g["title"], g["key"]))

    def _kept(self, result: ReconResult, ids: Sequence[str]) -> list[Picture]:
        try:
            stored = pictures.stored(result)
        except UserError as error:
            self.problems.append(f"left out: {error}")
            return []
        if stored is not None:
            return list(stored.by_sample.values())
        # a run of before there was an index: a file is named after its sample, and no photograph was kept
        folder = result.folder / "images"
        files = {p.name for p in folder.glob("*.png")}
        named_after = {sample: re.sub(r"[^A-Za-z0-9.-]+", "_", sample) + ".png" for sample in ids} if files else {}
        return [
            Picture(sample, folder / file, folder / "no photograph", ("chosen",))
            for sample, file in named_after.items()
            if file in files
        ]
