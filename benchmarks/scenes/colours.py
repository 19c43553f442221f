"""GenEval's ten colours as ranges from which the colours of surfaces are drawn."""

from __future__ import annotations

import colorsys

import numpy as np

RGB = tuple[float, float, float]

# ranges of hue (degrees), saturation and value (0 to 1); they lie so far apart that a shaded colour keeps its name
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 6), (0.80, 1.0), (0.68, 0.95)),
    "orange": ((22, 33), (0.82, 1.0), (0.90, 1.0)),
    "yellow": ((50, 59), (0.70, 1.0), (0.90, 1.0)),
    "green": ((95, 150), (0.55, 1.0), (0.40, 0.80)),
    "blue": ((206, 238), (0.65, 1.0), (0.55, 1.0)),
    "purple": ((268, 288), (0.50, 0.90), (0.45, 0.75)),
    "pink": ((320, 345), (0.32, 0.58), (0.94, 1.0)),
    "brown": ((18, 30), (0.55, 0.80), (0.32, 0.48)),
    "black": ((0, 360), (0.0, 0.25), (0.05, 0.14)),
    "white": ((0, 360), (0.0, 0.04), (0.94, 1.0)),
}


def drawn(name: str, rng: np.random.Generator) -> RGB:
    """Draw a surface colour of that name, each channel 0 to 255."""
    hue, saturation, value = (float(rng.uniform(low, high)) for low, high in RANGES[name])
    return rgb(hue, saturation, value)


def middle(name: str) -> RGB:
    """Return the colour in the middle of a name's ranges, each channel 0 to 255."""
    hue, saturation, value = ((low + high) / 2 for low, high in RANGES[name])
    return rgb(hue, saturation, value)


def rgb(hue: float, saturation: float, value: float) -> RGB:
    """Convert hue (degrees), saturation and value (0 to 1) to RGB, each channel 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def toned(colour: RGB, tone: float) -> RGB:
    """Return a colour that is darker for a tone below 1 (a factor), lighter above it (tone - 1 of the way to white).

    >>> toned((100.0, 0.0, 200.0), 0.5), toned((55.0, 155.0, 255.0), 1.5)
    ((50.0, 0.0, 100.0), (155.0, 205.0, 255.0))
    """
    if tone <= 1:
        return colour[0] * tone, colour[1] * tone, colour[2] * tone
    share = tone - 1
    return tuple(c + (255 - c) * share for c in colour)  # type: ignore[return-value]


def luminance(colour: RGB) -> float:
    """Return the luma of a colour, 0 to 255 (ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
