"""The pictures that the page's viewer shows: a photograph beside what every tokenizer made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lactok.errors import UserError
from lactok.evaluation.ranked import EXTREMES, ranked_by
from lactok.evaluation.results import ReconResult
from reports import pictures
from reports.page.pictures import Pictures
from reports.pictures import StoredPicture

THUMBNAIL = 128  # the longer side in pixels
NO_METRICS = ("id", "caption", "bits", "near_ties")  # the columns of records that are no metrics
MAX_PICTURES = 200  # of a row, best and worst ones first; more would make the page slow to build and to open


def reasons(result: ReconResult, why: Sequence[str]) -> list[str]:
    """Return in words why a picture was stored, and by what it is among the best or the worst of its run.

    What was chosen before the run needs no word, nor does a picture that is among both, as of very few images.
    """
    by = ranked_by(result.metrics)
    extremes = ("best", "worst")
    told = [reason for reason in why if reason != "chosen" and reason not in extremes]
    if by is None or all(reason in why for reason in extremes):
        return told
    title = result.metric(by).title
    return [f"{reason} {EXTREMES} by {title}" for reason in extremes if reason in why] + told


class Groups:
    """Samples with their pictures, in groups of the same data set and preparation, which may be compared.

    Attributes:
        pictures: writes the picture files of the page.
        problems: a line is added for everything that cannot be shown.
    """

    def __init__(self, pictures: Pictures, problems: list[str]):
        self.pictures, self.problems = pictures, problems
        self._groups: dict[str, dict[str, dict[str, Any]]] = {}

    def add(self, result: ReconResult, key: str, group: str, records: dict[str, list[Any]]) -> None:
        """Add a row's stored pictures with their scores.

        Args:
            result: the row's result.
            key: the row's key in the page.
            group: the key of its group.
            records: its records by column.
        """
        stored = self._stored(result, records["id"])
        if len(stored) > MAX_PICTURES:
            self.problems.append(
                f"left out: {result.name!a}: the page shows {MAX_PICTURES} of its {len(stored)} pictures"
            )
            stored = sorted(stored, key=lambda picture: picture.why == ("chosen",))[:MAX_PICTURES]
        index = {sample: i for i, sample in enumerate(records["id"])}
        for picture in stored:
            i = index.get(picture.sample)
            shown = self.pictures.add(picture.path, THUMBNAIL)
            if i is None or shown is None:
                continue
            blank = {"id": picture.sample, "caption": records["caption"][i], "photo": None, "rows": {}}
            entry = self._groups.setdefault(group, {}).setdefault(picture.sample, blank)
            if entry["photo"] is None and picture.reference.is_file():
                entry["photo"] = self.pictures.add(picture.reference, THUMBNAIL)
            scores = {m: values[i] for m, values in records.items() if m not in NO_METRICS}
            entry["rows"][key] = {**shown, "why": reasons(result, picture.why), "scores": scores}

    def as_data(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return each group's title, taken from its rows, and its samples in the order of their ids."""
        titles = {r["group"]: r["pictured"] for r in rows}
        found = [
            {"key": key, "title": titles[key], "samples": [samples[i] for i in sorted(samples)]}
            for key, samples in self._groups.items()
        ]
        return sorted(found, key=lambda g: (g["title"], g["key"]))

    def _stored(self, result: ReconResult, ids: Sequence[str]) -> list[StoredPicture]:
        """Return a run's stored pictures; where its index is damaged, add that to the problems and return none."""
        try:
            stored = pictures.stored_pictures(result)
        except UserError as error:
            self.problems.append(f"left out: {error}")
            return []
        if stored is not None:
            return list(stored.by_sample.values())
        # older runs have no index and no photographs, and a picture's file is named after its sample
        folder = result.folder / "images"
        files = {path.name for path in folder.glob("*.png")}
        found = []
        for sample in dict.fromkeys(ids):
            file = re.sub(r"[^A-Za-z0-9.-]+", "_", sample) + ".png"
            if file in files:
                found.append(StoredPicture(sample, folder / file, folder / "no photograph", ("chosen",)))
        return found
