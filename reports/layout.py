"""The grids of the paper: pictures in rows and columns, captions above and at the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.drawing import save, style, wrap

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 1.25  # inches: five columns fill a page of 7 inches
LEFT = 0.85  # inches for the rows' captions
GAP = 0.04
SMALLEST = 256  # pixels a cell, so that captions can be read in a PNG file
MOST = 120e6  # pixels of the whole
LINE = 1.25  # of the letters' height
POINTS = 7.0


@dataclass(frozen=True)
class Line:
    """A row of the grid: its caption, and a picture a column."""

    caption: str
    pictures: Sequence[Image]


def grid(columns: Sequence[str], lines: Sequence[Line], path: Path) -> None:
    """Draw a grid into `path`, a .png or .pdf file, the same bytes every time.

    Pixels are kept as they are: small pictures are enlarged by whole factors, larger ones than fit are shrunk; a PDF
    file holds the pictures themselves. Captions are wrapped to their column.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    width, height = (max(p.size[i] for line in lines for p in line.pictures) for i in (0, 1))
    factor: float = max(1, ceil(SMALLEST / max(width, height)))
    total = width * height * factor**2 * len(lines) * len(columns)
    factor *= min(1.0, sqrt(MOST / total))
    width, height = round(width * factor), round(height * factor)
    dpi = max(width, height) / CELL
    gap, left = round(GAP * dpi), round(LEFT * dpi)
    with style():
        font = FontProperties(family=["DejaVu Sans"], size=POINTS)
        renderer = RendererAgg(1, 1, dpi)

        def measure(text: str) -> float:
            return float(renderer.get_text_width_height_descent(text, font, False)[0])

        heads = [wrap(c, width, measure) for c in columns]
        sides = [wrap(line.caption, left - 2 * gap, measure, most=8) for line in lines]
        line_height = POINTS / 72 * LINE * dpi
        top = round(max(h.count("\n") + 1 for h in heads) * line_height) + 2 * gap
        w, h = left + len(columns) * (width + gap), top + len(lines) * (height + gap)
        figure = Figure(figsize=(w / dpi, h / dpi), dpi=dpi)
        text: dict[str, Any] = {"fontproperties": font, "linespacing": LINE}
        for i, head in enumerate(heads):
            x = left + i * (width + gap) + width / 2
            figure.text(x / w, 1 - (top - gap) / h, head, ha="center", va="bottom", **text)
        for j, (line, side) in enumerate(zip(lines, sides, strict=True)):
            y = h - top - j * (height + gap) - height
            figure.text((left - gap) / w, (y + height / 2) / h, side, ha="right", va="center", **text)
            for i, picture in enumerate(line.pictures):
                x = left + i * (width + gap)
                axes = figure.add_axes((x / w, y / h, width / w, height / h))
                axes.imshow(_fitted(picture, width, height), aspect="auto", interpolation="none", resample=False)
                axes.set_axis_off()
        save(figure, path)


def _fitted(picture: Image, width: int, height: int) -> Image:
    """Shrunk smoothly where it is larger than a cell; smaller ones are enlarged when they are drawn."""
    from PIL import Image as pil

    if picture.width <= width and picture.height <= height:
        return picture
    return picture.resize((width, height), pil.Resampling.LANCZOS)
