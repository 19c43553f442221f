"""What all pictures of the reports share: one style, names drawn as they are, the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import disk_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],  # matplotlib brings it along: the same letters everywhere
    "font.size": 7,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 0.9,
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "lactok",
    "text.parse_math": False,  # a name may hold $ or _
}
NO_DATES: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's defaults and `STYLE`, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, .svg, .pdf or .png; to be called within `style()`."""
    kind = path.suffix.lower()[1:]
    data = BytesIO()
    figure.savefig(data, format=kind, dpi=figure.dpi, metadata=NO_DATES[kind])
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.getvalue())


def plain(text: str, longest: int = 200) -> str:
    """Text that every format can hold: one line, nothing that cannot be printed, cut where it is too long.

    >>> plain("a\\nb\\x00", 10), plain("abcdef", 4)
    ('a b�', 'abc…')
    """
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def wrap(text: str, width: float, measure: Callable[[str], float], most: int = 4) -> str:
    """Break a caption into at most `most` lines no wider than `width`: at its own line ends and spaces, a word that is
    too long after a sign such as - or /, or else anywhere.

    >>> print(wrap("lactok-h\\n256 tokens", 10, len))
    lactok-h
    256 tokens
    >>> print(wrap("china/bottom-left", 12, len))
    china/
    bottom-left
    >>> print(wrap("abcdefgh", 4, len, most=1))
    abc…
    """
    lines = [""]
    for own_line in text.splitlines():
        lines.append("")
        for i, word in enumerate(plain(own_line).split()):
            _append(lines, f" {word}" if i else word, width, measure)
    lines = [line for line in lines if line]
    if len(lines) > most:
        last = lines[most - 1]
        while last and measure(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], last + "…"]
    return "\n".join(lines)


def _append(lines: list[str], word: str, width: float, measure: Callable[[str], float]) -> None:
    """A word at the end of the last line, or in new ones."""
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
        for letter in piece if measure(piece) > width else [piece]:
            if lines[-1] and measure(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
