"""The runs that the page shows together: those of the same images, prepared and scored alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lactok.evaluation.results import ReconResult
from lactok.evaluation.table import metrics_of
from reports.tables.cells import Cell, Mark, Row, Table, column
from reports.tables.groups import alike
from reports.tables.measured import measure, with_marks


@dataclass(frozen=True)
class RunSet:
    """Runs of the same images, prepared and scored alike; they may differ in which metrics they have.

    Attributes:
        key: a short name of the set that is safe in an address.
        runs: the runs.
        with_hash: whether the title needs the hash of the data set, because another set has the same title without.
    """

    key: str
    runs: tuple[ReconResult, ...]
    with_hash: bool = False

    @property
    def title(self) -> str:
        """The data set without the hash of its content, the number of images and the protocol, in words."""
        first = self.runs[0]
        name = first.dataset if self.with_hash else without_hash(first.dataset)
        images = "1 image" if first.n == 1 else f"{max(run.n for run in self.runs):,} images"
        return f"{name}, {images}, {first.data.protocol.name} at {first.data.protocol.size_text}"

    def marks(self) -> dict[tuple[str, str], Mark]:
        """Return the marks of the best and second best values by (name of the run, key of the metric)."""
        metrics = metrics_of(self.runs)
        columns = tuple(column(metric) for metric in metrics)
        rows = tuple(
            Row(
                run.label,
                run.label,
                tuple(Cell(None, *measure(run, one)) for one in columns),
                run.name,
                marked=run.data.tokenizer.tokens is not None,
            )
            for run in self.runs
        )
        table = with_marks(Table(self.key, "", columns, rows), self.runs)
        return {
            (row.run, one.key): cell.mark
            for row in table.rows
            for one, cell in zip(columns, row.cells, strict=True)
            if cell.mark
        }

    def as_data(self) -> dict[str, Any]:
        """Return what the page shows of the set itself."""
        first = self.runs[0]
        return {"key": self.key, "title": self.title, "dataset": first.dataset, "images": max(r.n for r in self.runs)}


def sets_of(results: Sequence[ReconResult]) -> list[RunSet]:
    """Return the sets, the one with the most runs first, of these the one with the most images."""
    found: dict[str, list[ReconResult]] = {}
    for run in results:
        found.setdefault(alike(run), []).append(run)
    sets = [RunSet(key, tuple(runs)) for key, runs in found.items()]
    titles = [each.title for each in sets]
    sets = [RunSet(s.key, s.runs, titles.count(t) > 1) for s, t in zip(sets, titles, strict=True)]
    return sorted(sets, key=lambda s: (-len(s.runs), -max(r.n for r in s.runs), s.title, s.key))


def without_hash(name: str) -> str:
    """Return the name of a data set or a folder of images without the digits of its content's hash.

    >>> without_hash("holiday-e7c587"), without_hash("coco")
    ('holiday', 'coco')
    """
    return re.sub(r"(?<=.)-[0-9a-f]{6}$", "", name)
