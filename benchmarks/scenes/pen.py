"""A pen that records shapes in an object's own coordinates, and their antialiased rendering at any pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.scenes.colours import RGB, luminance, toned

SAMPLES = 3  # a side, of the supersampling

Points = np.ndarray  # (N, 2) float, x to the right and y downwards, an object within about -1 to 1


@dataclass(frozen=True, eq=False)
class Shape:
    """A polygon, or a line where `width` is not 0. `paint` None cuts a hole into what was drawn before."""

    points: Points
    paint: RGB | None
    width: float = 0.0


class Pen:
    """Collects the shapes of one object; a paint is a tone of the object's colour or a colour of its own."""

    def __init__(self, colour: RGB):
        self.colour = colour
        self.shapes: list[Shape] = []
        self.dark = luminance(colour) <= 70
        self.ink: RGB = (222.0, 220.0, 214.0) if self.dark else (28.0, 26.0, 30.0)

    def either(self, light: float, dark: float) -> float:
        """A tone for details: one for light colours, one for dark ones."""
        return dark if self.dark else light

    def paint(self, paint: float | RGB) -> RGB:
        return paint if isinstance(paint, tuple) else toned(self.colour, paint)

    def fill(self, points: Points | Sequence[tuple[float, float]], paint: float | RGB = 1.0) -> None:
        self.shapes.append(Shape(np.asarray(points, float), self.paint(paint)))

    def line(self, points: Points | Sequence[tuple[float, float]], width: float, paint: float | RGB = 1.0) -> None:
        self.shapes.append(Shape(np.asarray(points, float), self.paint(paint), width))

    def hole(self, points: Points) -> None:
        self.shapes.append(Shape(np.asarray(points, float), None))


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Points of an ellipse, or of its arc from `start` to `end` degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 40))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def rectangle(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Points:
    """With rounded corners where `radius` is not 0."""
    if not radius:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    corners = ((right, bottom, -1, -1, 0), (left, bottom, 1, -1, 90), (left, top, 1, 1, 180), (right, top, -1, 1, 270))
    arcs = []
    for x, y, inward_x, inward_y, start in corners:
        angles = np.radians(np.linspace(start, start + 90, 8))
        centre = np.array([x + inward_x * radius, y + inward_y * radius])
        arcs.append(centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1))
    return np.concatenate(arcs)


def smooth(points: Sequence[tuple[float, float]], steps: int = 6) -> Points:
    """The closed Catmull-Rom spline through the points."""
    p = np.asarray(points, float)
    before, after, second = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - second) * t**2
        + (3 * p - before - 3 * after + second) * t**3
    )
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2))


def mirrored(right: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """An outline from its right half, given from the top to the bottom; points on the axis are not doubled."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


def render(pen: Pen, side: float, angle: float, aspect: float, flip: bool) -> np.ndarray:
    """The object at a pose, cut out tightly.

    Args:
        side: of the longer side of its box in pixels.
        angle: degrees, clockwise.
        aspect: width is multiplied by it before it is turned.

    Returns:
        (H, W, 4) uint8, colours not multiplied by alpha.
    """
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    scale = np.array([-aspect if flip else aspect, 1.0])
    matrix = np.array([[cosine, -sine], [sine, cosine]]) * scale
    placed = [shape.points @ matrix.T for shape in pen.shapes]
    low = np.min([p.min(0) - s.width / 2 for p, s in zip(placed, pen.shapes, strict=True) if s.paint], 0)
    high = np.max([p.max(0) + s.width / 2 for p, s in zip(placed, pen.shapes, strict=True) if s.paint], 0)
    unit = side * SAMPLES / float((high - low).max())
    width, height = (max(1, math.ceil(x / SAMPLES - 1e-6)) for x in (high - low) * unit)
    # transparent parts carry the object's colour, so that edges do not darken
    canvas = Image.new("RGBA", (width * SAMPLES, height * SAMPLES), (*_bytes(pen.colour), 0))
    draw = ImageDraw.Draw(canvas)
    for points, shape in zip(placed, pen.shapes, strict=True):
        at = [tuple(p) for p in ((points - low) * unit).tolist()]
        fill = (*_bytes(shape.paint), 255) if shape.paint else (*_bytes(pen.colour), 0)
        if shape.width:
            thick = max(1, round(shape.width * unit))
            draw.line(at, fill=fill, width=thick, joint="curve")
            radius = thick / 2 - 0.5
            for x, y in (at[0], at[-1]) if radius > 1 else ():
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        else:
            draw.polygon(at, fill=fill)
    return np.asarray(canvas.reduce(SAMPLES))


def _bytes(colour: RGB) -> tuple[int, int, int]:
    return round(colour[0]), round(colour[1]), round(colour[2])
