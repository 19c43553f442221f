"""Tables of reconstructions by subset: stored values of single images, averaged over the images of each subset."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.errors import UserError, WrongValue
from lactok.evaluation.names import is_control
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ReconResult, Results
from lactok.evaluation.statistics import mean_entry
from lactok.evaluation.subsets import ALL, Subsets
from lactok.evaluation.table import metrics_of
from reports.tables.cells import Cell, Measured, Row, Table, column
from reports.tables.choice import describe
from reports.tables.groups import group_of, same_images, title_of


def build(results: Results, subsets: Subsets) -> list[Table]:
    """Return a table for each data set and protocol that has images of the subsets.

    Raises:
        UserError: no run has any.
    """
    tables, reasons = [], []
    for group in same_images(results.recon):
        runs = sorted((r for r in group if not is_control(r.label)), key=lambda r: r.name)
        try:
            if runs:
                tables.append(_table(runs, subsets))
        except UserError as error:
            reasons.append(str(error))
    if not tables:
        raise WrongValue(reasons[0] if reasons else "there are no reconstructions to be split into subsets")
    return tables


def _table(runs: Sequence[ReconResult], subsets: Subsets) -> Table:
    """Return the table of runs of one group; runs without records are named in a note."""
    metrics, rows, notes = metrics_of(runs), [], []
    readable = []
    for run in runs:
        try:
            readable.append((run, run.records))
        except UserError as error:
            notes.append(f"left out: {error}")
    if not readable:
        raise WrongValue(notes[0].removeprefix("left out: "))
    columns = tuple(column(m) for m in metrics if any(m.key in records for _, records in readable))
    partial = {m.key for m in metrics if m.partial}
    for run, records in readable:
        for name, inside in [(ALL, None), *subsets.of(records["id"].tolist()).items()]:
            part = records if inside is None else records[inside]
            cells = []
            for c in columns:
                if c.key not in part:
                    cells.append(Cell(reason=f"not measured: {run.name} has no {c.title}"))
                    continue
                values = part[c.key].to_numpy("float64", na_value=float("nan"))
                entry = mean_entry(values, partial=c.key in partial)
                if entry["value"] is None:
                    cells.append(Cell(reason=entry["reason"]))
                else:
                    ci95 = entry["ci95"]
                    cells.append(
                        Cell(measured=Measured(entry["value"], (ci95[0], ci95[1]) if ci95 else None, entry["n"]))
                    )
            rows.append(Row(run.label, run.label, tuple(cells), run.name, describe(run), (name,), marked=False))
    return Table(
        f"subsets-{digest([*group_of(runs[0]), subsets.source])[:8]}",
        f"By subset ({subsets.source}): {title_of(runs[0])}",
        columns,
        tuple(rows),
        dataset=runs[0].dataset,
        facts=("subset",),
        notes=(*subsets.notes, *notes),
    )
