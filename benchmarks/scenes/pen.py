"""Draw an object as shapes in its own coordinates (`Pen`), and render it with antialiasing at any pose (`render`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.scenes.colours import RGB, luminance, toned

SAMPLES = 3  # a pixel is the mean of SAMPLES x SAMPLES samples

Points = np.ndarray  # (N, 2) float, x to the right and y downwards; an object lies within about -1 to 1


@dataclass(frozen=True, eq=False)
class Shape:
    """A polygon or a line.

    Attributes:
        points: the corners.
        paint: the colour; None cuts a hole into what was drawn before.
        width: of a line, in the object's coordinates; 0 for a polygon.
    """

    points: Points
    paint: RGB | None
    width: float = 0.0


class Pen:
    """Collects the shapes of one object.

    A paint is a tone of the object's colour (1: the colour itself, see `toned`) or a colour of its own.

    Attributes:
        colour: the object's colour, each channel 0 to 255.
        shapes: what was drawn, in order.
        dark: whether the colour is dark.
        ink: a colour for details that stands out from the object's colour.
    """

    def __init__(self, colour: RGB):
        self.colour = colour
        self.shapes: list[Shape] = []
        self.dark = luminance(colour) <= 70
        self.ink: RGB = (222.0, 220.0, 214.0) if self.dark else (28.0, 26.0, 30.0)

    def either(self, light: float, dark: float) -> float:
        """Return the tone `light` where the object's colour is light, and `dark` where it is dark."""
        return dark if self.dark else light

    def paint(self, paint: float | RGB) -> RGB:
        """Return the colour of a paint."""
        return paint if isinstance(paint, tuple) else toned(self.colour, paint)

    def fill(self, points: Points | Sequence[tuple[float, float]], paint: float | RGB = 1.0) -> None:
        """Fill the polygon through the points."""
        self.shapes.append(Shape(np.asarray(points, float), self.paint(paint)))

    def line(self, points: Points | Sequence[tuple[float, float]], width: float, paint: float | RGB = 1.0) -> None:
        """Draw a line through the points with round ends."""
        self.shapes.append(Shape(np.asarray(points, float), self.paint(paint), width))

    def hole(self, points: Points) -> None:
        """Cut the polygon through the points out of what was drawn before."""
        self.shapes.append(Shape(np.asarray(points, float), None))


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Return 40 points of an ellipse, or of its arc from `start` to `end` degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 40))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def rectangle(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Points:
    """Return the outline of a rectangle, with rounded corners where `radius` is not 0."""
    if not radius:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    # a rounded corner: its place, the direction to the centre of its arc, where the arc starts in degrees
    corners = ((right, bottom, -1, -1, 0), (left, bottom, 1, -1, 90), (left, top, 1, 1, 180), (right, top, -1, 1, 270))
    arcs = []
    for x, y, inward_x, inward_y, start in corners:
        angles = np.radians(np.linspace(start, start + 90, 8))
        centre = np.array([x + inward_x * radius, y + inward_y * radius])
        arcs.append(centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1))
    return np.concatenate(arcs)


def smooth(points: Sequence[tuple[float, float]], steps: int = 6) -> Points:
    """Return the closed Catmull-Rom spline through the points, `steps` points for each given one."""
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
    """Return an outline from its right half, given from top to bottom; points on the axis (x = 0) are not doubled."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


def render(pen: Pen, side: float, angle: float, aspect: float, flip: bool) -> np.ndarray:
    """Render an object at a pose, in its tight box.

    Args:
        pen: holds the object's shapes.
        side: the longer side of the box in pixels.
        angle: how far the object is turned, in degrees, clockwise.
        aspect: a factor of the width, before the object is turned.
        flip: whether the object is mirrored.

    Returns:
        (H, W, 4) uint8, RGB and alpha; the colours are not multiplied by alpha.
    """
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    scale = np.array([-aspect if flip else aspect, 1.0])
    matrix = np.array([[cosine, -sine], [sine, cosine]]) * scale
    placed = [shape.points @ matrix.T for shape in pen.shapes]
    low = np.min([p.min(0) - s.width / 2 for p, s in zip(placed, pen.shapes, strict=True) if s.paint], 0)
    high = np.max([p.max(0) + s.width / 2 for p, s in zip(placed, pen.shapes, strict=True) if s.paint], 0)
    unit = side * SAMPLES / float((high - low).max())
    width, height = (max(1, math.ceil(x / SAMPLES - 1e-6)) for x in (high - low) * unit)
    # transparent pixels have the object's colour, so that averaging does not darken the edges
    canvas = Image.new("RGBA", (width * SAMPLES, height * SAMPLES), (*_bytes(pen.colour), 0))
    draw = ImageDraw.Draw(canvas)
    for points, shape in zip(placed, pen.shapes, strict=True):
        corners = [tuple(p) for p in ((points - low) * unit).tolist()]
        fill = (*_bytes(shape.paint), 255) if shape.paint else (*_bytes(pen.colour), 0)
        if shape.width:
            thick = max(1, round(shape.width * unit))
            draw.line(corners, fill=fill, width=thick, joint="curve")
            radius = thick / 2 - 0.5
            if radius > 1:  # round ends
                for x, y in (corners[0], corners[-1]):
                    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        else:
            draw.polygon(corners, fill=fill)
    return np.asarray(canvas.reduce(SAMPLES))


def _bytes(colour: RGB) -> tuple[int, int, int]:
    """Round a colour to whole numbers."""
    return round(colour[0]), round(colour[1]), round(colour[2])
