"""Write a table as Markdown, CSV, LaTeX (booktabs) or JSON; the same table gives the same text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from lactok.errors import one_line
from reports.tables.cells import Cell, Column, Mark, Row, Table

Style = Callable[[str, Mark], str]  # writes a number in bold or italics, as its mark has it
LATEX_HEAD = "% needs \\usepackage{booktabs}\n"

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "†": r"\dag{}",
}


def escape_markdown(text: str) -> str:
    """Escape any text so that a Markdown table shows it literally.

    >>> escape_markdown("a|b_c *x* <i>")
    'a\\\\|b\\\\_c \\\\*x\\\\* &lt;i&gt;'
    """
    text = one_line(text, None).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text)


def escape_latex(text: str) -> str:
    r"""Escape any text so that LaTeX shows it literally.

    >>> escape_latex("100 % of x_1 & {y}")
    '100 \\% of x\\_1 \\& \\{y\\}'
    """
    return "".join(_LATEX.get(c, c) for c in one_line(text, None))


def _markdown_style(text: str, mark: Mark) -> str:
    if mark == "best":
        return f"**{text}**"
    return f"_{text}_" if mark == "second" else text


def _latex_style(text: str, mark: Mark) -> str:
    if mark == "best":
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if mark == "second" else text


def _measured(cell: Cell, column: Column) -> str:
    """Return a measured number with half the width of its interval, and "~" before a distance of too few images."""
    m = cell.measured
    assert m is not None, "only of measured cells"
    text = column.number(m.value)
    if m.ci95 is not None:
        text += f" ±{column.number((m.ci95[1] - m.ci95[0]) / 2)}"
    return text if m.reliable else f"~{text}"


def _difference(cell: Cell, column: Column) -> str:
    """Return the difference of the measured and the published number with its interval, or "" without one of them."""
    if cell.difference is None:
        return ""
    text = column.number(cell.difference, "+")
    if cell.difference_ci95 is not None:
        low, high = (column.number(v, "+") for v in cell.difference_ci95)
        text += f" ({low} to {high})"
    return text


def grid(table: Table, style: Style, escape: Callable[[str], str]) -> tuple[list[str], list[list[str]], list[str]]:
    """Lay a table out as texts, escaped and marked.

    In a table with published numbers a row is two lines, the published and the measured numbers, and a third with the
    differences where there are any. An empty cell refers to a note that says why it is empty.

    Returns:
        The heads of the columns, the lines, and the notes.
    """
    reasons: dict[str, int] = {}

    def empty(reason: str) -> str:
        return f"– ({reasons.setdefault(reason, len(reasons) + 1)})" if reason else "–"

    def published_text(cell: Cell, column: Column) -> str:
        if cell.published is None:
            return escape(empty(cell.published_reason))
        number = style(escape(f"{cell.published * column.metric.scale:.{column.printed}f}"), cell.published_mark)
        return number if cell.second is None else f"{number} / {cell.second * column.metric.scale:g}"

    def measured_text(cell: Cell, column: Column) -> str:
        if cell.measured is None:
            return escape(empty(cell.reason))
        return style(escape(_measured(cell, column)), cell.mark)

    has_published = bool(table.source)
    heads = ["method", "numbers"] if has_published else ["method"]
    heads += [*table.facts, *(c.head for c in table.columns), "n", "protocol"]
    lines = []
    for row in table.rows:
        pairs = list(zip(row.cells, table.columns, strict=True))
        theirs = [published_text(cell, column) for cell, column in pairs]
        own = [measured_text(cell, column) for cell, column in pairs]
        end = [str(row.n) if row.n is not None else "", escape(row.protocol)]
        facts = [escape(f) for f in row.facts]
        if not has_published:
            lines.append([escape(row.label), *facts, *own, *end])
            continue
        lines.append([escape(row.label), "published", *facts, *theirs, "", ""])
        lines.append([escape(row.name), "measured", *facts, *own, *end])
        if any(c.difference is not None for c in row.cells):
            differences = [escape(_difference(cell, column)) for cell, column in pairs]
            lines.append(["", "difference", *facts, *differences, "", ""])
    notes = [*table.notes, *_signs_explained(table), *(f"({i}) {reason}" for reason, i in reasons.items())]
    return [escape(head) for head in heads], lines, [escape(note) for note in notes]


def _signs_explained(table: Table) -> list[str]:
    """Return notes on the meaning of the signs that occur in the table."""
    measured = [c.measured for row in table.rows for c in row.cells if c.measured is not None]
    cells = [c for row in table.rows for c in row.cells]
    notes = [f"after /: {source}." for source in dict.fromkeys(c.second_source for c in cells if c.second is not None)]
    if measured:
        notes.append(
            "± is half the 95 % interval of the mean, or of the distance of sets where there are enough images."
        )
    if any(not m.reliable for m in measured):
        notes.append("~: a distance of fewer than 2049 images, biased upwards and not comparable with published ones.")
    if any(c.mark or c.published_mark for row in table.rows for c in row.cells):
        notes.append(
            "Bold is the best of a column, published and measured numbers each among themselves, underlined or in "
            "italics the second best; ties and differences inside the 95 % interval are not marked."
        )
    return notes


def markdown(table: Table, level: int = 2) -> str:
    """Return a table as Markdown, below a heading of this level, with its notes as a list."""
    from tabulate import tabulate

    heads, lines, notes = grid(table, _markdown_style, escape_markdown)
    left = 2 if table.source else 1
    align = ["left"] * left + ["right"] * (len(heads) - left - 1) + ["left"]
    text = tabulate(lines, heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    source = [f"Published: {escape_markdown(table.source)}."] if table.source else []
    after = "".join(f"- {note}\n" for note in [*source, *notes])
    return f"{'#' * level} {escape_markdown(table.title)}\n\n{text}\n\n{after}"


def latex(table: Table) -> str:
    """Return a table as a LaTeX table environment, with its notes in small print."""
    heads, lines, notes = grid(table, _latex_style, escape_latex)
    left = 2 if table.source else 1
    spec = "l" * left + "r" * (len(heads) - left - 1) + "l"
    body = []
    for i, line in enumerate(lines):
        if table.source and i and line[1] == "published":
            body.append(r"\addlinespace")
        body.append(" & ".join(line) + r" \\")
    caption = table.title + (f". Published: {table.source}" if table.source else "")
    out = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(caption)}.}}", rf"\label{{tab:{table.id}}}"]
    out += [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
    ]
    out += [r"\end{tabular}", *(rf"\par\footnotesize {note}" for note in notes), r"\end{table}"]
    return "\n".join(out) + "\n"


CSV_HEAD = (
    "table",
    "source",
    "row",
    "name",
    "dataset",
    "protocol",
    "metric",
    "published",
    "published_mark",
    "published_reason",
    "second",
    "second_source",
    "measured",
    "mark",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "n",
    "reliable",
    "run",
    "reason",
)


def csv_text(tables: Sequence[Table]) -> str:
    """Return tables as CSV, with a line for each cell and all digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                flat = _flat(row, column, cell)
                flat |= {"table": table.id, "source": table.source, "dataset": table.dataset}
                flat["low"], flat["high"] = flat["ci95"] or (None, None)
                flat["difference_low"], flat["difference_high"] = flat["difference_ci95"] or (None, None)
                writer.writerow([csv_value(flat[key]) for key in CSV_HEAD])
    return out.getvalue()


def csv_value(value: Any) -> Any:
    """Return a text on one line, behind an apostrophe where a spreadsheet would take it for a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value, None)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _flat(row: Row, column: Column, cell: Cell) -> dict[str, Any]:
    """Return all that is known of a cell, as CSV and JSON hold it; what is missing is None or ""."""
    m = cell.measured
    return {
        "row": row.label,
        "name": row.name,
        "metric": column.key,
        "published": cell.published,
        "published_mark": cell.published_mark,
        "published_reason": cell.published_reason,
        "second": cell.second,
        "second_source": cell.second_source,
        "measured": m.value if m else None,
        "mark": cell.mark,
        "ci95": list(m.ci95) if m and m.ci95 else None,
        "difference": cell.difference,
        "difference_ci95": list(cell.difference_ci95) if cell.difference_ci95 else None,
        "n": m.n if m else None,
        "reliable": m.reliable if m else None,
        "protocol": row.protocol if m else "",
        "run": row.run if m else "",
        "reason": cell.reason,
    }


def as_data(table: Table) -> dict[str, Any]:
    """Return a table as JSON holds it; numbers have all digits, and a mark is "best", "second" or ""."""
    columns = [
        {"key": c.key, "title": c.title, "higher_is_better": c.metric.higher, "factor": c.metric.scale}
        for c in table.columns
    ]
    rows = []
    for row in table.rows:
        cells = []
        for column, cell in zip(table.columns, row.cells, strict=True):
            flat = _flat(row, column, cell)
            del flat["row"], flat["name"]  # they stand once, beside the cells
            cells.append(flat)
        facts = dict(zip(table.facts, row.facts, strict=True))
        rows.append({"row": row.label, "name": row.name, "facts": facts, "cells": cells})
    return {
        "id": table.id,
        "title": table.title,
        "source": table.source,
        "dataset": table.dataset,
        "columns": columns,
        "rows": rows,
        "notes": list(table.notes),
    }


def json_text(tables: Sequence[Table]) -> str:
    """Return tables as JSON, with the version of its layout as `schema`."""
    from lactok.evaluation.writing import to_json

    return to_json({"schema": 1, "tables": [as_data(t) for t in tables]}).decode()
