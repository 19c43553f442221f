"""The parts of a table: columns, rows, and cells with a published and a measured number, or the reason for its lack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lactok.evaluation.table import decimals
from lactok.metrics.registry import Metric

Mark = Literal["best", "second", ""]  # the place of a number among those of its column

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Column:
    """The column of a metric.

    Attributes:
        metric: the metric of the measured numbers.
        printed: the digits after the point of published numbers.
        published: the name of the column in the published table.
    """

    metric: Metric
    printed: int
    published: str

    @property
    def key(self) -> str:
        """The metric's key."""
        return self.metric.key

    @property
    def title(self) -> str:
        """The metric's title."""
        return self.metric.title

    @property
    def head(self) -> str:
        """The text above the column: the title with an arrow that says which direction is better."""
        return self.metric.head

    def number(self, value: float, sign: str = "") -> str:
        """Return a measured value as text, in the metric's unit and digits; `sign` "+" shows a plus before it."""
        return decimals(value * self.metric.scale, self.metric.digits, sign)


def column(metric: Metric, printed: int = 2, published: str = "") -> Column:
    """Return the column of a metric.

    Args:
        metric: the metric.
        printed: digits after the point of published numbers, as their paper prints them.
        published: the column of the published table, where its name is not the metric's key.
    """
    return Column(metric, printed, published or metric.key)


@dataclass(frozen=True)
class Measured:
    """A measured number.

    Attributes:
        value: the number.
        ci95: its 95 % interval; None for a single image, and for distances of sets without one.
        n: the number of images.
        reliable: False for a distance of sets of too few images.
    """

    value: float
    ci95: tuple[float, float] | None
    n: int
    reliable: bool = True


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        published: the published number, or None.
        measured: the measured number, or None.
        reason: why there is no measured number, "" where there is one.
        published_reason: why there is no published number, "" where there is one.
        mark: the place of the measured number among those of its column.
        published_mark: the place of the published number among those of its column.
        second: the same number as another source prints it, or None.
        second_source: that source, "" where there is none.
        comparable: whether the measured number is of the same model on the same data as the published one, so that
            their difference says something.
    """

    published: float | None = None
    measured: Measured | None = None
    reason: str = ""
    published_reason: str = ""
    mark: Mark = ""
    published_mark: Mark = ""
    second: float | None = None
    second_source: str = ""
    comparable: bool = True

    @property
    def difference(self) -> float | None:
        """The measured number minus the published one, None where one is missing or they are not comparable."""
        if self.measured is None or self.published is None or not self.comparable:
            return None
        return self.measured.value - self.published

    @property
    def difference_ci95(self) -> tuple[float, float] | None:
        """The 95 % interval of the measured number minus the published one, which has no interval of its own."""
        if self.difference is None or self.measured is None or self.measured.ci95 is None:
            return None
        low, high = self.measured.ci95
        return low - (self.published or 0), high - (self.published or 0)


@dataclass(frozen=True)
class Row:
    """The row of a method.

    Attributes:
        label: the method's name in the paper or in the result.
        name: its name in this project, "" where it has none.
        cells: a cell for each column.
        run: the name of the result's folder, "" where nothing is measured.
        protocol: the conditions of the measurement in words.
        facts: a text for each of the table's `facts`.
        marked: whether its numbers may be marked as best or second best; those of references may not.
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
        """The number of measured images, None where nothing is measured."""
        counts = [c.measured.n for c in self.cells if c.measured is not None]
        return max(counts) if counts else None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        id: the name of its files.
        title: its title.
        columns: its metrics.
        rows: its methods.
        source: where the published numbers stand, "" for a table without any.
        dataset: the name of the data set.
        facts: the heads of the columns before the metrics, such as "tokens".
        notes: sentences that a reader of the table must know.
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
    """Mark the best and the second best value of a column.

    A value is marked only if it differs for certain from every value behind it, so a tie or a difference within the
    interval is not marked. There is no second best without a best, and a single value is not marked.

    Args:
        values: the values, None where one is missing.
        higher: whether higher values are better.
        apart: tells whether the values at two positions differ for certain.

    Returns:
        A mark for each value.

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
    """Return the table with its marks.

    Args:
        table: the table without marks.
        apart: gets the positions of two rows and a column, and tells whether their measured numbers differ for certain.
    """
    columns = [_marked_cells(table, c, apart) for c in range(len(table.columns))]
    rows = [replace(row, cells=tuple(cells[r] for cells in columns)) for r, row in enumerate(table.rows)]
    return replace(table, rows=tuple(rows))


def _marked_cells(table: Table, c: int, apart: Callable[[int, int, Column], bool]) -> list[Cell]:
    """Return the cells of column number `c` with their marks."""
    column, cells = table.columns[c], [row.cells[c] for row in table.rows]
    measured: list[float | None] = [None] * len(cells)
    published: list[float | None] = [None] * len(cells)
    for r, (row, cell) in enumerate(zip(table.rows, cells, strict=True)):
        if row.marked:
            measured[r] = cell.measured.value if cell.measured is not None else None
            published[r] = cell.published

    def measured_apart(i: int, j: int) -> bool:
        return apart(i, j, column)

    def published_apart(i: int, j: int) -> bool:
        return published[i] != published[j]

    own = marks(measured, column.metric.higher, measured_apart)
    theirs = marks(published, column.metric.higher, published_apart)
    return [replace(cell, mark=a, published_mark=b) for cell, a, b in zip(cells, own, theirs, strict=True)]
