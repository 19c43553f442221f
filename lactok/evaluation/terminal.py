"""What is printed on a terminal: Markdown tables and their footnotes, fitted to its width."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap

GAP = 2  # spaces between columns
GLUE = "\xa0"  # between a title and its arrow, which stay in one line
NARROWEST = 40  # columns; narrower terminals break lines themselves


def fitted(text: str, width: int | None = None) -> str:
    """Return a text with its Markdown tables and long lines brought to a width.

    A table that is too wide loses its bars; if that is not enough, its columns stand in several tables, one below the
    other, that all begin with the first column.

    Args:
        text: the text, in which lines that begin with a bar are tables.
        width: the width in characters; if it is not given, that of the terminal, and the text as it is where standard
            output is none.
    """
    if width is None:
        if not sys.stdout.isatty():
            return text
        width = shutil.get_terminal_size().columns
    width = max(width, NARROWEST)
    lines: list[str] = []
    table: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
            continue
        lines += _fitted_table(table, width) if table else []
        table = []
        lines += textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False) or [""]
    return "\n".join(lines[:-1]) + ("\n" if text.endswith("\n") else "")


def _fitted_table(lines: list[str], width: int) -> list[str]:
    """Return the lines of a Markdown table, which has a head and a line of dashes, at most so wide."""
    if max(map(len, lines)) <= width:
        return lines
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    head = [re.sub(r" ([↑↓])", f"{GLUE}\\1", name) for name in head]
    columns = [[name, *(row[i] for row in rows)] for i, name in enumerate(head)]
    widths = [max(max(len(word) for word in column[0].split(" ")), *map(len, column[1:])) for column in columns]
    blocks: list[list[int]] = [[0]]
    for i in range(1, len(columns)):
        taken = sum(widths[k] + GAP for k in blocks[-1])
        if len(blocks[-1]) > 1 and taken + widths[i] > width:
            blocks.append([0])
        blocks[-1].append(i)
    found: list[str] = []
    for block in blocks:
        # a title takes two lines where its column is narrower
        heads = [textwrap.wrap(head[i], max(widths[i], 1)) or [""] for i in block]
        deepest = max(map(len, heads))
        titles = [[""] * (deepest - len(parts)) + parts for parts in heads]
        dashes = ["-" * widths[i] for i in block]
        cells = [*zip(*titles, strict=True), dashes, *([row[i] for i in block] for row in rows)]
        found += [""] if found else []
        for row in cells:
            aligned = [
                text.rjust(widths[i]) if i else text.ljust(widths[i]) for i, text in zip(block, row, strict=True)
            ]
            found.append((" " * GAP).join(aligned).rstrip().replace(GLUE, " "))
    return found
