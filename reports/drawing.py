"""What all figures and grids share: one style, text drawn literally, and files with the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import disk_errors
from lactok.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],  # part of matplotlib, so it is the same everywhere
    "font.size": 7,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 0.9,
    "pdf.fonttype": 42,  # TrueType; publishers refuse Type 3 fonts
    "svg.fonttype": "none",  # text stays text instead of outlines
    "svg.hashsalt": "lactok",
    "text.parse_math": False,  # a name may hold $, which would start a formula
}
# metadata that changes with time and version is left out
NO_DATES: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Within this context matplotlib uses its defaults and `STYLE`, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, .svg, .pdf or .png; call it within `style()`."""
    kind = path.suffix.lower()[1:]
    data = BytesIO()
    figure.savefig(data, format=kind, dpi=figure.dpi, metadata=NO_DATES[kind])
    with disk_errors(path.parent):
        write_atomically(path, data.getvalue())


def printable(text: str, max_length: int = 200) -> str:
    """Return text on one line of at most `max_length` characters, with U+FFFD for those that cannot be printed.

    >>> printable("a\\nb\\x00", 10), printable("abcdef", 4)
    ('a b�', 'abc…')
    """
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def wrap(text: str, width: float, measure: Callable[[str], float], max_lines: int = 4) -> str:
    """Break a caption into at most `max_lines` lines that are no wider than `width` by `measure`.

    It is broken at its own line ends and at spaces; a word that is too long is broken after a sign such as - or /, or
    else anywhere. Where lines are left out, the last one ends in an ellipsis.

    >>> print(wrap("lactok-h\\n256 tokens", 10, len))
    lactok-h
    256 tokens
    >>> print(wrap("china/bottom-left", 12, len))
    china/
    bottom-left
    >>> print(wrap("abcdefgh", 4, len, max_lines=1))
    abc…
    """
    lines = [""]
    for own_line in text.splitlines():
        lines.append("")
        for i, word in enumerate(printable(own_line).split()):
            _append(lines, f" {word}" if i else word, width, measure)
    lines = [line for line in lines if line]
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and measure(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], last + "…"]
    return "\n".join(lines)


def _append(lines: list[str], word: str, width: float, measure: Callable[[str], float]) -> None:
    """Add a word to the last line, or to new ones where it does not fit; `measure` gives the width of a text."""
    if measure(lines[-1] + word) <= width:
        lines[-1] += word
        return
    pieces = [word.strip()]
    if measure(pieces[0]) > width:
        pieces = re.findall(r"[^-/_@,.]+[-/_@,.]*|[-/_@,.]+", pieces[0])
    lines.append("")
    for piece in pieces:
        if lines[-1] and measure(lines[-1] + piece) > width:
            lines.append("")
        parts = list(piece) if measure(piece) > width else [piece]  # a piece that is too long is broken anywhere
        for part in parts:
            if lines[-1] and measure(lines[-1] + part) > width:
                lines.append("")
            lines[-1] += part
