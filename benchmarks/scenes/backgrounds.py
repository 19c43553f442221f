"""The backgrounds of scenes: procedural textures of any colour, with clutter that looks like no object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.scenes.colours import RGB, rgb

Rng = np.random.Generator
Palette = tuple[np.ndarray, np.ndarray]  # the two colours of a texture, each (3,), 0 to 255
# a background's colour this far (Euclidean, channels 0 to 255) from every object's colour is searched for no further
ENOUGH_CONTRAST = 75.0
PAPER: RGB = (190.0, 190.0, 190.0)  # the colour of the paper behind plain scenes, grey; each channel 0 to 255


def background(size: int, avoid: Sequence[RGB], rng: Rng, plain: bool = False) -> np.ndarray:
    """Draw a background.

    Args:
        size: its side in pixels.
        avoid: the colours of the objects, from which the background's colours keep as far as some draws allow.
        rng: all random choices come from it.
        plain: paper of one colour, without clutter.

    Returns:
        (size, size, 3) float32, 0 to 255.
    """
    if plain:
        return np.full((size, size, 3), PAPER, np.float32)
    textures = (gradient, clouds, wood, grass, tiles, cloth)
    picture = textures[int(rng.integers(len(textures)))](size, palette(avoid, rng), rng)
    if rng.random() < 0.35:  # two textures, as of a wall over a floor
        other = textures[int(rng.integers(len(textures)))](size, palette(avoid, rng), rng)
        edge = int(rng.uniform(0.35, 0.75) * size)
        picture[edge:] = other[edge:]
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    clutter(image, avoid, rng)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.0)))
    return np.asarray(image, np.float32)


def palette(avoid: Sequence[RGB], rng: Rng) -> Palette:
    """Return the colours of a texture: of up to 12 random pairs the one furthest from the colours to avoid."""
    best, distance = None, -1.0
    for _ in range(12):
        hue, saturation, value = rng.uniform(0, 360), rng.beta(1.3, 2.2), rng.uniform(0.15, 0.95)
        first = np.array(rgb(hue, saturation, value))
        second = np.array(rgb(hue + rng.uniform(-25, 25), saturation * rng.uniform(0.6, 1.1), value * 0.82))
        found = min((math.dist(c, a) for c in (first, second) for a in avoid), default=255.0)
        if found > distance:
            best, distance = (first, second), found
        if distance >= ENOUGH_CONTRAST:
            break
    assert best is not None
    return best


def smooth_noise(size: int, rows: int, columns: int, rng: Rng) -> np.ndarray:
    """Return noise of rows x columns random values enlarged smoothly: (size, size) float32, about 0 to 1."""
    cells = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.asarray(cells.resize((size, size), Image.Resampling.BICUBIC))


def blend(share: np.ndarray, colours: Palette) -> np.ndarray:
    """Blend two colours: (H, W) share of the second one -> (H, W, 3) float32."""
    first, second = (c.astype(np.float32) for c in colours)
    return np.asarray(first + share[..., None].astype(np.float32) * (second - first), np.float32)


def gradient(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return a linear gradient in a random direction; as all textures, (size, size, 3) float32."""
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    along = 0.5 + math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    return blend(along + 0.12 * (smooth_noise(size, 64, 64, rng) - 0.5), colours)


def clouds(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return clouds: smooth noise at three scales."""
    share = (
        0.6 * smooth_noise(size, 4, 4, rng)
        + 0.3 * smooth_noise(size, 9, 9, rng)
        + 0.15 * smooth_noise(size, 24, 24, rng)
    )
    return blend(np.clip(2.2 * share - 0.7, 0, 1.2), colours)


def wood(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return planks with grain, lying or standing."""
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    grain = (
        np.sin((y + 0.06 * smooth_noise(size, 6, 3, rng)) * rng.uniform(60, 140)) * 0.25
        + smooth_noise(size, 96, 4, rng) * 0.5
    )
    planks = int(rng.integers(3, 8))
    share = grain + rng.random(planks).astype(np.float32)[np.minimum((y * planks).astype(int), planks - 1)] * 0.6
    share += 1.4 * (np.abs((y * planks) % 1 - 0.5) > 0.485)
    picture = blend(share, colours)
    return picture.transpose(1, 0, 2).copy() if rng.random() < 0.5 else picture


def grass(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return narrow upright noise with darker patches, like grass."""
    share = smooth_noise(size, size // 12, size // 2, rng) + 0.5 * smooth_noise(size, 5, 5, rng) - 0.3
    return blend(1.2 * share, colours)


def tiles(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return square tiles with joints of 2 pixels."""
    side = int(rng.integers(20, 60))
    count = size // side + 2
    at = np.arange(size) + int(rng.integers(side))
    cell, inside = at // side, at % side
    share = 0.5 * rng.random((count, count), dtype=np.float32)[cell[:, None], cell[None, :]]
    share = share + 0.15 * smooth_noise(size, 48, 48, rng)
    joint = (inside < 2)[:, None] | (inside < 2)[None, :]
    return blend(np.where(joint, 1.5, share), colours)


def cloth(size: int, colours: Palette, rng: Rng) -> np.ndarray:
    """Return stripes or checks with folds."""
    axis = np.linspace(0, 2 * math.pi * rng.uniform(3, 12), size, dtype=np.float32)
    waves = np.sin(axis)[:, None] * np.ones((1, size), np.float32)
    if rng.random() < 0.5:
        waves = 0.5 * (waves + waves.T)
    return blend(0.5 + 0.35 * waves + 0.6 * (smooth_noise(size, 5, 5, rng) - 0.5), colours)


def clutter(image: Image.Image, avoid: Sequence[RGB], rng: Rng) -> None:
    """Draw up to five sticks and pebbles into the image, in colours that a background may have."""
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
