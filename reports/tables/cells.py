"""What a table is made of: columns, rows, and cells that hold a published and a measured number or say why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lactok.metrics.registry import Metric

Mark = Literal["best", "second", ""]

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Column:
    """A metric, beside it the same as a paper prints it.

    Attributes:
        metric: as it is declared.
        printed: digits after the point of published numbers.
        published: the column of the published table.
    """

    metric: Metric
    printed: int
    published: str

    @property
    def key(self) -> str:
        return self.metric.key

    @property
    def title(self) -> str:
        return self.metric.title

    @property
    def head(self) -> str:
        return self.metric.head

    def number(self, value: float, sign: str = "") -> str:
        """A measured value as tables write it."""
        return f"{value * self.metric.scale:{sign}.{self.metric.digits}f}"


def column(metric: Metric, printed: int = 2, published: str = "") -> Column:
    """The column of a metric.

    Args:
        printed: digits after the point of published numbers, as their paper prints them.
        published: the column of the published table, where its name is not the metric's key.
    """
    return Column(metric, printed, published or metric.key)


@dataclass(frozen=True)
class Measured:
    """A measured number.

    Attributes:
        ci95: 95 % interval, None for distances of sets and single images.
        n: images.
        reliable: False for a distance of too few images.
    """

    value: float
    ci95: tuple[float, float] | None
    n: int
    reliable: bool = True


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        reason, published_reason: why there is no measured number, and why no published one; "" where there is.
        mark: of the measured number among those of its column; `published_mark` likewise.
    """

    published: float | None = None
    measured: Measured | None = None
    reason: str = ""
    published_reason: str = ""
    mark: Mark = ""
    published_mark: Mark = ""

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.value - self.published

    @property
    def difference_ci95(self) -> tuple[float, float] | None:
        """The interval of the measured number, less the published one, which comes without any."""
        if self.difference is None or self.measured is None or self.measured.ci95 is None:
            return None
        low, high = self.measured.ci95
        return low - (self.published or 0), high - (self.published or 0)


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        label: as the paper or the result names it.
        name: this project's name of it, "" where it has none.
        cells: one a column.
        run: the result folder's name, "" where nothing is measured.
        protocol: under which it was measured, in words.
        facts: texts beside the metrics, one each of the table's `facts`.
        marked: whether it takes part in the marks; references do not.
    """

    label: str
    name: str
    cells: tuple[Cell, ...]
    run: str = ""
    protocol: str = ""
    facts: tuple[str, ...] = ()
    marked: bool = True

    @property
    def n(self) -> int | None:
        counts = [c.measured.n for c in self.cells if c.measured is not None]
        return max(counts) if counts else None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        id: of its files.
        source: of the published numbers, "" for a table of runs alone.
        facts: heads of the columns before the metrics.
        notes: what a reader must know.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    source: str = ""
    dataset: str = ""
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def marks(values: Sequence[float | None], higher: bool, apart: Callable[[int, int], bool]) -> list[Mark]:
    """The best and the second best of a column.

    A value is marked only where it is apart from every one that follows it, so a tie and a difference inside the
    interval are no win; there is no second best without a best, and a lone value has beaten nobody.

    Args:
        apart: whether the values at two positions differ for certain.

    >>> marks([1.0, 3.0, 2.0, None], True, lambda i, j: True)
    ['', 'best', 'second', '']
    >>> marks([3.0, 3.0, 2.0], True, lambda i, j: i + j != 1)
    ['', '', '']
    """
    order = [i for i, v in enumerate(values) if v is not None and math.isfinite(v)]
    order.sort(key=lambda i: values[i] or 0.0, reverse=higher)
    found: list[Mark] = [""] * len(values)
    names: tuple[Mark, Mark] = ("best", "second")
    for place, mark in enumerate(names):
        following = order[place + 1 :]
        if (not following and place == 0) or place >= len(order):
            break
        if not all(apart(order[place], other) for other in following):
            break
        found[order[place]] = mark
    return found


def marked(table: Table, apart: Callable[[int, int, Column], bool]) -> Table:
    """The table with its marks; `apart` gets the positions of two rows and says whether their measurements differ."""
    columns = []
    taking_part = [row.marked for row in table.rows]
    for c, column in enumerate(table.columns):
        cells = [row.cells[c] for row in table.rows]
        measured = [x.measured.value if x.measured and m else None for x, m in zip(cells, taking_part, strict=True)]
        own = marks(measured, column.metric.higher, lambda i, j, column=column: apart(i, j, column))  # type: ignore[misc]
        printed = [x.published if m else None for x, m in zip(cells, taking_part, strict=True)]
        theirs = marks(printed, column.metric.higher, lambda i, j, printed=printed: printed[i] != printed[j])  # type: ignore[misc]
        columns.append([replace(x, mark=a, published_mark=b) for x, a, b in zip(cells, own, theirs, strict=True)])
    rows = [replace(row, cells=tuple(column[r] for column in columns)) for r, row in enumerate(table.rows)]
    return replace(table, rows=tuple(rows))
