"""What the scenes' objects stand before: procedural textures of any colour, with clutter that is no object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.scenes.colours import RGB, rgb

Rng = np.random.Generator
CLEAR = 75.0  # distance between an object's colour and the background's that is looked for, of 255 a channel


def background(size: int, avoid: Sequence[RGB], rng: Rng) -> np.ndarray:
    """A picture without any object, of colours away from those to be avoided as far as that goes.

    Returns:
        (size, size, 3) float32, 0 to 255.
    """
    textures = (gradient, clouds, wood, grass, tiles, cloth)
    picture = textures[int(rng.integers(len(textures)))](size, palette(avoid, rng), rng)
    if rng.random() < 0.35:  # a wall over a floor
        other = textures[int(rng.integers(len(textures)))](size, palette(avoid, rng), rng)
        edge = int(rng.uniform(0.35, 0.75) * size)
        picture[edge:] = other[edge:]
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    clutter(image, avoid, rng)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.0)))
    return np.asarray(image, np.float32)


def palette(avoid: Sequence[RGB], rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Two colours of a texture: the best of some draws."""
    best, distance = None, -1.0
    for _ in range(12):
        hue, saturation, value = rng.uniform(0, 360), rng.beta(1.3, 2.2), rng.uniform(0.15, 0.95)
        first = np.array(rgb(hue, saturation, value))
        second = np.array(rgb(hue + rng.uniform(-25, 25), saturation * rng.uniform(0.6, 1.1), value * 0.82))
        found = min((math.dist(c, a) for c in (first, second) for a in avoid), default=255.0)
        if found > distance:
            best, distance = (first, second), found
        if distance >= CLEAR:
            break
    assert best is not None
    return best


def field(size: int, rows: int, columns: int, rng: Rng) -> np.ndarray:
    """Smooth noise with so many cells, (size, size) float32 in about 0 to 1."""
    cells = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.asarray(cells.resize((size, size), Image.Resampling.BICUBIC))


def mixed(share: np.ndarray, colours: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(H, W) share of the second colour -> (H, W, 3)."""
    first, second = (c.astype(np.float32) for c in colours)
    return np.asarray(first + share[..., None].astype(np.float32) * (second - first), np.float32)


def gradient(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    along = 0.5 + math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    return mixed(along + 0.12 * (field(size, 64, 64, rng) - 0.5), colours)


def clouds(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    share = 0.6 * field(size, 4, 4, rng) + 0.3 * field(size, 9, 9, rng) + 0.15 * field(size, 24, 24, rng)
    return mixed(np.clip(2.2 * share - 0.7, 0, 1.2), colours)


def wood(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    """Planks with grain."""
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    grain = np.sin((y + 0.06 * field(size, 6, 3, rng)) * rng.uniform(60, 140)) * 0.25 + field(size, 96, 4, rng) * 0.5
    planks = int(rng.integers(3, 8))
    share = grain + rng.random(planks).astype(np.float32)[np.minimum((y * planks).astype(int), planks - 1)] * 0.6
    share += 1.4 * (np.abs((y * planks) % 1 - 0.5) > 0.485)
    picture = mixed(share, colours)
    return picture.transpose(1, 0, 2).copy() if rng.random() < 0.5 else picture


def grass(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    share = field(size, size // 12, size // 2, rng) + 0.5 * field(size, 5, 5, rng) - 0.3
    return mixed(1.2 * share, colours)


def tiles(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    side = int(rng.integers(20, 60))
    count = size // side + 2
    at = np.arange(size) + int(rng.integers(side))
    cell, inside = at // side, at % side
    share = 0.5 * rng.random((count, count), dtype=np.float32)[cell[:, None], cell[None, :]]
    share = share + 0.15 * field(size, 48, 48, rng)
    joint = (inside < 2)[:, None] | (inside < 2)[None, :]
    return mixed(np.where(joint, 1.5, share), colours)


def cloth(size: int, colours: tuple[np.ndarray, np.ndarray], rng: Rng) -> np.ndarray:
    """Stripes or checks with folds."""
    axis = np.linspace(0, 2 * math.pi * rng.uniform(3, 12), size, dtype=np.float32)
    waves = np.sin(axis)[:, None] * np.ones((1, size), np.float32)
    if rng.random() < 0.5:
        waves = 0.5 * (waves + waves.T)
    return mixed(0.5 + 0.35 * waves + 0.6 * (field(size, 5, 5, rng) - 0.5), colours)


def clutter(image: Image.Image, avoid: Sequence[RGB], rng: Rng) -> None:
    """Pebbles, sticks and stains in the background's own range of colours, drawn into the image."""
    draw = ImageDraw.Draw(image)
    size = image.width
    for _ in range(int(rng.integers(0, 6))):
        first, _ = palette(avoid, rng)
        fill = tuple(int(c) for c in first)
        x, y, side = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(4, 26)
        turn = rng.uniform(0, 2 * math.pi)
        if rng.random() < 0.4:
            dx, dy = side * math.cos(turn), side * math.sin(turn)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=int(rng.integers(2, 6)))
        else:
            corners = int(rng.integers(4, 9))
            angles = turn + np.arange(corners) * 2 * math.pi / corners
            radii = side * rng.uniform(0.5, 1.0, corners)
            draw.polygon(
                [(x + r * math.cos(a), y + 0.7 * r * math.sin(a)) for a, r in zip(angles, radii, strict=True)],
                fill=fill,
            )
