"""The table of a paper: chosen runs of the same images, chosen columns, short names, the best values in bold."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from lactok.errors import UserError, WrongValue, first_few, unknown
from lactok.evaluation.config import split_names
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ReconResult, Result, load_results
from lactok.evaluation.table import decimals, share_of_codes, small_notes
from lactok.evaluation.taught import MARK, taught, taught_notes
from lactok.files import is_file, is_folder
from lactok.metrics.registry import METRICS, sorted_keys
from reports.conditions import unusual_conditions
from reports.stored_runs import find, of_dataset
from reports.tables.cells import Cell, Column, Row, Table, column
from reports.tables.formats import LATEX_HEAD, csv_value, escape_latex, escape_markdown
from reports.tables.groups import alike, title_of
from reports.tables.measured import measure, with_marks

NONE = "–"  # in the place of a number that is not there


@dataclass(frozen=True)
class Fact:
    """A column that is no metric.

    Attributes:
        head: the text above it.
        value: the run's number with all digits, None where it has none.
        text: the number as the table shows it.
    """

    head: str
    value: Callable[[ReconResult], float | None]
    text: Callable[[ReconResult], str]


def _decimals(value: float | None, digits: int = 0) -> str:
    return NONE if value is None else decimals(value, digits)


def _seconds(run: ReconResult) -> str:
    seconds = run.seconds("decode")
    return NONE if seconds is None else f"{seconds:.3g}"


FACTS = {
    "tokens": Fact("tokens", lambda r: r.data.tokenizer.tokens, lambda r: _decimals(r.data.tokenizer.tokens)),
    "codes": Fact(
        "codes", lambda r: r.data.tokenizer.codebook_size, lambda r: _decimals(r.data.tokenizer.codebook_size)
    ),
    "bits": Fact("bits", lambda r: r.data.tokenizer.bits, lambda r: _decimals(r.data.tokenizer.bits)),
    "bpp": Fact("bpp", lambda r: r.data.tokenizer.bpp, lambda r: _decimals(r.data.tokenizer.bpp, 4)),
    "usage": Fact(
        "usage",
        lambda r: r.data.codebook.usage if r.data.codebook else None,
        lambda r: share_of_codes(r).replace("-", NONE),
    ),
    "decode": Fact("decode, s", lambda r: r.seconds("decode"), _seconds),
    "n": Fact("images", lambda r: r.n, lambda r: str(r.n)),
}


@dataclass(frozen=True)
class Chosen:
    """A table of chosen runs.

    Attributes:
        table: the metrics with their marks; its rows have the names that the table shows.
        runs: the run of each row.
        columns: the keys of the columns, facts and metrics, in the order of the table.
        intervals: whether values are followed by half their interval.
    """

    table: Table
    runs: Sequence[ReconResult]
    columns: Sequence[str]
    intervals: bool = False

    @property
    def heads(self) -> list[str]:
        """The texts above the columns."""
        metrics = {c.key: c.head for c in self.table.columns}
        return [FACTS[key].head if key in FACTS else metrics[key] for key in self.columns]

    def cell(self, row: int, key: str) -> tuple[str, bool]:
        """Return the text of a place and whether it is the best of its column."""
        if key in FACTS:
            return FACTS[key].text(self.runs[row]), False
        place = next(i for i, c in enumerate(self.table.columns) if c.key == key)
        cell, metric = self.table.rows[row].cells[place], self.table.columns[place]
        if cell.measured is None:
            return NONE, False
        text = metric.number(cell.measured.value)
        if self.intervals and cell.measured.ci95 is not None:
            low, high = cell.measured.ci95
            text += f" ± {metric.number((high - low) / 2)}"
        if key in taught(self.runs[row]):
            text += MARK
        return text if cell.measured.reliable else f"~{text}", cell.mark == "best"


def rows(names: Sequence[str], results: str, dataset: str | None = None) -> list[ReconResult]:
    """Return the runs that are the rows of a table: those that are named, or all of a folder of results.

    Args:
        names: see `reports.stored_runs.find`; or one folder of results.
        results: the folder of results in which names are looked up.
        dataset: the data set of the rows; None where there is one alone.

    Raises:
        UserError: there is no such run, or the runs are not all reconstructions of the same images under one protocol.
    """
    found: Sequence[Result]
    if len(names) == 1 and is_folder(Path(names[0])) and not is_file(Path(names[0]) / "result.json"):
        found = of_dataset(load_results(names[0]).recon, dataset)
        if not found:
            raise UserError(f"`runs` {names[0]} holds no reconstructions")
    else:
        found = find(split_names(" ".join(names), "runs"), results, "--runs", dataset)
    others = [r for r in found if not isinstance(r, ReconResult)]
    if others:
        raise UserError(
            f"{others[0].name} is a result of {others[0].suite}; this table shows reconstructions, and `python -m "
            "reports build` writes tables of all suites"
        )
    runs = [r for r in found if isinstance(r, ReconResult)]
    groups = list(dict.fromkeys(alike(r) for r in runs))
    if len(groups) > 1:
        of = [next(r for r in runs if alike(r) == group) for group in groups]
        said = first_few([f"{r.name} is of {title_of(r)}" for r in of], 3)
        raise UserError(
            f"these runs do not share images and protocol, so no table compares them: {said}; name some, or a `dataset`"
        )
    return runs


def build(
    runs: Sequence[ReconResult],
    columns: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    intervals: bool = False,
) -> Chosen:
    """Return the table of runs of the same images.

    Args:
        runs: the rows in their order.
        columns: keys of metrics and of `FACTS`; None for tokens, bits and every metric that all runs have.
        names: the names of the rows; None for the tokenizers'.
        intervals: whether values are followed by half their interval.

    Raises:
        WrongValue, UnknownName: a column that no run has, one named twice, or another number of names than of rows.
    """
    every = sorted_keys(list(dict.fromkeys(key for run in runs for key in run.metrics)))
    if columns is None:
        columns = ["tokens", "bits", *(key for key in every if all(key in run.metrics for run in runs))]
    for key in columns:
        if key in FACTS or key in every:
            continue
        if key in METRICS.offered():
            raise WrongValue(
                f"`columns`: {key} was not measured for these runs; measure it by `python -m benchmarks.recon "
                f"--metrics {key}`, or take of {', '.join([*FACTS, *every])}"
            )
        raise unknown("column", key, [*FACTS, *every])
    twice = [key for key in columns if list(columns).count(key) > 1]
    if twice:
        raise WrongValue(f"`columns` names {twice[0]} twice; leave one out")
    if names is not None and len(names) != len(runs):
        raise WrongValue(f"`names`: {len(names)} for {len(runs)} rows; name each, with commas between")
    metrics = [_column(runs, key) for key in columns if key not in FACTS]
    lines = []
    for run, name in zip(runs, names or _short_names(runs), strict=True):
        cells = tuple(Cell(None, *measure(run, one)) for one in metrics)
        lines.append(Row(name, run.label, cells, run.name, marked=run.data.tokenizer.tokens is not None))
    table = Table(f"chosen-{digest([run.name for run in runs])[:8]}", title_of(runs[0]), tuple(metrics), tuple(lines))
    return Chosen(with_marks(table, runs), runs, columns, intervals)


def _column(runs: Sequence[ReconResult], key: str) -> Column:
    """Return the column of a metric that some of the runs have."""
    return column(next(run for run in runs if key in run.metrics).metric(key))


def _short_names(runs: Sequence[ReconResult]) -> list[str]:
    """Return the tokenizers' names, with what is unusual about a run, or its folder, where two would be alike."""
    names = [run.label for run in runs]
    for tell in (lambda r: " ".join([r.label, *unusual_conditions(r)]), lambda r: r.name):
        names = [tell(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
    return names


def notes(chosen: Chosen) -> list[str]:
    """Return what a reader of the table must know, in sentences."""
    cells = [chosen.cell(r, key) for r in range(len(chosen.runs)) for key in chosen.columns]
    said = []
    if any(best for _, best in cells):
        said.append("Bold: the best, where its difference from every other row lies outside the 95 % interval.")
        if not all(row.marked for row in chosen.table.rows):
            said.append("Rows without tokens are references and take no part in that.")
    if any("±" in text for text, _ in cells):
        said.append("±: half the 95 % interval.")
    if any(text.startswith("~") for text, _ in cells):
        said.append("~: a distance of too few images, biased upwards and not comparable with published ones.")
    said += taught_notes(chosen.runs, chosen.columns)
    return [*said, *(f"{note}." for note in small_notes(chosen.runs))]


def text(chosen: Chosen, kind: str) -> str:
    """Return the table in a format: "tex", "md" or "csv"."""
    return {"tex": _latex, "md": _markdown, "csv": _csv}[kind](chosen)


def _lines(chosen: Chosen, escape: Callable[[str], str], bold: str) -> list[list[str]]:
    """Return the cells of each row as texts, the name first; `bold` has {} where the best value goes."""
    lines = []
    for r, row in enumerate(chosen.table.rows):
        cells = [chosen.cell(r, key) for key in chosen.columns]
        lines.append([escape(row.label), *(bold.format(escape(t)) if best else escape(t) for t, best in cells)])
    return lines


def _markdown(chosen: Chosen) -> str:
    lines = _lines(chosen, escape_markdown, "**{}**")
    heads = ["method", *map(escape_markdown, chosen.heads)]
    align = ["left"] + ["right"] * len(chosen.columns)
    table = tabulate(lines, heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    below = " ".join([f"{escape_markdown(chosen.table.title)}.", *map(escape_markdown, notes(chosen))])
    return f"{table}\n\n{below}\n"


def _latex(chosen: Chosen) -> str:
    caption = " ".join([f"Reconstruction, {chosen.table.title}.", *notes(chosen)])
    body = [" & ".join(line) + r" \\" for line in _lines(chosen, escape_latex, r"\textbf{{{}}}")]
    heads = " & ".join(["method", *map(escape_latex, chosen.heads)])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{chosen.table.id}}}",
        rf"\begin{{tabular}}{{l{'r' * len(chosen.columns)}}}",
        r"\toprule",
        heads + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return LATEX_HEAD + "\n".join(lines) + "\n"


def _csv(chosen: Chosen) -> str:
    """Return the numbers with all digits; a metric has two more columns, the ends of its 95 % interval."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ["method"]
    for key in chosen.columns:
        heads += [key] if key in FACTS else [key, f"{key}_low", f"{key}_high"]
    writer.writerow(heads)
    place = {c.key: i for i, c in enumerate(chosen.table.columns)}
    for row, run in zip(chosen.table.rows, chosen.runs, strict=True):
        line: list[Any] = [csv_value(row.label)]
        for key in chosen.columns:
            if key in FACTS:
                line.append(FACTS[key].value(run))
                continue
            measured = row.cells[place[key]].measured
            line += [measured.value, *(measured.ci95 or (None, None))] if measured else [None, None, None]
        writer.writerow(line)
    return out.getvalue()
