"""Set measured numbers beside those of a published table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import published
from benchmarks.table3.systems import System
from reports.tables.cells import NOT_PUBLISHED, Cell, Column, Row, Table
from reports.tables.choice import Choice, describe
from reports.tables.measured import measure, with_marks


def table(
    id: str,
    title: str,
    printed: published.Table,
    systems: Sequence[System],
    columns: Sequence[Column],
    choices: Sequence[Choice],
    *,
    dataset: str = "",
    notes: Sequence[str] = (),
    remedy: str = "",
    second: str = "",
    comparable: bool = True,
) -> Table:
    """Return a published table with measured numbers.

    Args:
        id: the name of its files.
        title: its title.
        printed: the published table.
        systems: its rows; one whose key the published table does not have has measured numbers alone.
        columns: its columns.
        choices: the chosen run of each row, or why there is none.
        dataset: the name of the data set.
        notes: sentences below the table.
        remedy: how to measure a metric that a run lacks.
        second: the name of a published table that prints some of the numbers too, "" for none.
        comparable: whether measured and published numbers are of the same models on the same data; else their
            differences are not shown.
    """
    rows: list[Row] = []
    also = published.table(second) if second else None
    for system, choice in zip(systems, choices, strict=True):
        theirs = printed.rows.get(system.key, {})
        cells = []
        theirs_again = also.rows.get(system.key, {}) if also else {}
        for one in columns:
            number, again = theirs.get(one.published), theirs_again.get(one.published)
            measured, reason = measure(choice.run, one, remedy) if choice.run else (None, choice.reason)
            cell = Cell(number, measured, reason, NOT_PUBLISHED if number is None else "", comparable=comparable)
            if also and again is not None:
                cell = replace(cell, second=again, second_source=also.source)
            cells.append(cell)
        run = choice.run
        folder, conditions = (run.name, describe(run)) if run else ("", "")
        rows.append(Row(system.label, system.name, tuple(cells), folder, conditions, marked=system.marked))
    said = tuple(dict.fromkeys([*notes, *(c.note for c in choices if c.note)]))
    built = Table(id, title, tuple(columns), tuple(rows), printed.source, dataset, notes=said)
    return with_marks(built, [c.run for c in choices])
