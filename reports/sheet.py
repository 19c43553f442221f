"""A sheet of pictures in rows and columns, with captions above, at the left and below, as a PNG or PDF file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.drawing import save, style, wrap

if TYPE_CHECKING:
    from PIL.Image import Image

CELL_INCHES = 1.25  # the longer side of a cell; five columns fill a page of 7 inches
CAPTION_INCHES = 0.85  # the width of the rows' captions
GAP_INCHES = 0.04  # between cells
MIN_CELL_PIXELS = 256  # a cell's longer side is enlarged to it, so that captions can be read in a PNG file
MAX_PIXELS = 120e6  # of all cells together
LINE_SPACING = 1.25  # a factor of the letters' height
FONT_POINTS = 7.0


@dataclass(frozen=True)
class GridRow:
    """A row of the grid.

    Attributes:
        caption: stands at its left.
        pictures: from left to right; a row may have fewer than others.
        below: the caption below each picture; empty where no picture has one.
    """

    caption: str
    pictures: Sequence[Image]
    below: Sequence[str] = ()


def grid(columns: Sequence[str], rows: Sequence[GridRow], path: Path) -> None:
    """Draw a grid into `path`, a .png or .pdf file, whose bytes are the same every time.

    Small pictures are enlarged by a whole factor, so that their pixels stay visible, and pictures larger than a cell
    are shrunk. A PDF file holds the pictures themselves. Captions are wrapped to their column.

    Args:
        columns: the caption above each column; empty where no column has one.
        rows: the rows from top to bottom.
        path: the file.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    pictures = [picture for row in rows for picture in row.pictures]
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    factor: float = max(1, ceil(MIN_CELL_PIXELS / max(width, height)))
    count = max(len(row.pictures) for row in rows)
    total = width * height * factor**2 * len(rows) * count
    factor *= min(1.0, sqrt(MAX_PIXELS / total))
    width, height = round(width * factor), round(height * factor)
    dpi = max(width, height) / CELL_INCHES
    gap = round(GAP_INCHES * dpi)
    left = round(CAPTION_INCHES * dpi) if any(row.caption for row in rows) else gap
    with style():
        font = FontProperties(family=["DejaVu Sans"], size=FONT_POINTS)
        renderer = RendererAgg(1, 1, dpi)

        def measure(text: str) -> float:
            return float(renderer.get_text_width_height_descent(text, font, False)[0])

        heads = [wrap(c, width, measure) for c in columns]
        sides = [wrap(row.caption, left - 2 * gap, measure, max_lines=8) for row in rows]
        line_height = FONT_POINTS / 72 * LINE_SPACING * dpi
        feet = [[wrap(text, width, measure, max_lines=8) for text in row.below] for row in rows]

        def room(texts: Sequence[str]) -> int:
            """Return the pixels that captions beside each other take."""
            return round(max(t.count("\n") + 1 for t in texts) * line_height) + 2 * gap if texts else 0

        top = room(heads) or gap
        steps = [height + gap + room(texts) for texts in feet]  # from one row to the next
        total_width = left + count * (width + gap)
        total_height = top + sum(steps)
        figure = Figure(figsize=(total_width / dpi, total_height / dpi), dpi=dpi)
        text: dict[str, Any] = {"fontproperties": font, "linespacing": LINE_SPACING}
        for i, head in enumerate(heads):
            x = left + i * (width + gap) + width / 2
            figure.text(x / total_width, 1 - (top - gap) / total_height, head, ha="center", va="bottom", **text)
        for j, (row, side) in enumerate(zip(rows, sides, strict=True)):
            y = total_height - top - sum(steps[:j]) - height
            middle = (y + height / 2) / total_height
            figure.text((left - gap) / total_width, middle, side, ha="right", va="center", **text)
            for i, picture in enumerate(row.pictures):
                x = left + i * (width + gap)
                axes = figure.add_axes((x / total_width, y / total_height, width / total_width, height / total_height))
                axes.imshow(_fitted(picture, width, height), aspect="auto", interpolation="none", resample=False)
                axes.set_axis_off()
                if feet[j]:
                    centre = (x + width / 2) / total_width
                    figure.text(centre, (y - gap) / total_height, feet[j][i], ha="center", va="top", **text)
        save(figure, path)


def _fitted(picture: Image, width: int, height: int) -> Image:
    """Shrink a picture smoothly where it is larger than a cell; smaller ones are enlarged when they are drawn."""
    from PIL import Image as pil

    if picture.width <= width and picture.height <= height:
        return picture
    return picture.resize((width, height), pil.Resampling.LANCZOS)
