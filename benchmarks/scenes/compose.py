"""Puts objects before a background: a rendered scene with its exact truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.scenes import colours, pen
from benchmarks.scenes.backgrounds import background
from benchmarks.scenes.objects import KINDS
from lactok.randomness import seed_of

SIZE = 256
SMALLEST, LARGEST = 28, 120  # longer side of an object's box in pixels
VISIBLE = 0.85  # share of an object that the others leave to be seen, at least
EDGE = 3  # pixels that an object keeps from the picture's edge
AXES = {"right of": (1, 0), "left of": (-1, 0), "below": (0, 1), "above": (0, -1)}

Rng = np.random.Generator


@dataclass(frozen=True)
class Wanted:
    """An object to be shown: a name of `objects.VOCABULARY` and one of GenEval's colours."""

    name: str
    color: str


@dataclass(frozen=True)
class Plan:
    """What a scene shows.

    Attributes:
        objects: all of them, the ones that a caption speaks of first.
        relation: where the second one stands as seen from the first: left of, right of, above, below, or anywhere.
    """

    objects: tuple[Wanted, ...]
    relation: str | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its truth.

    Attributes:
        image: (256, 256, 3) uint8.
        bare: the same without objects and their shadows.
        labels: (256, 256) uint8, 0 for the background, i + 1 where object i is seen.
        objects: what is there, in the plan's order.
    """

    image: np.ndarray
    bare: np.ndarray
    labels: np.ndarray
    objects: tuple[Wanted, ...]

    def mask(self, i: int) -> np.ndarray:
        """(256, 256) bool: where object i is seen."""
        return np.asarray(self.labels == i + 1)

    def box(self, i: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what is seen of object i; right and bottom are exclusive."""
        return box_of(self.mask(i))


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask (H, W) bool that is not empty; right and bottom are exclusive."""
    box = Image.fromarray(mask).getbbox()
    assert box is not None
    return box


def compose(plan: Plan, seed: int) -> Scene:
    """The scene of a plan; the same seed gives the same picture."""
    for attempt in range(50):
        rng = np.random.default_rng(seed_of(seed, "scene", attempt))
        surfaces = [colours.drawn(w.color, rng) for w in plan.objects]
        sprites = [
            sprite(w.name, s, side, rng) for w, s, side in zip(plan.objects, surfaces, sides(plan, rng), strict=True)
        ]
        places = placed([(s.shape[1], s.shape[0]) for s in sprites], plan.relation, rng)
        if places is None:
            continue
        labels, seen = np.zeros((SIZE, SIZE), np.uint8), True
        for i, (part, (left, top)) in enumerate(zip(sprites, places, strict=True)):
            window = labels[top : top + part.shape[0], left : left + part.shape[1]]
            window[part[..., 3] > 127] = i + 1
        for i, part in enumerate(sprites):
            seen &= (labels == i + 1).sum() >= VISIBLE * (part[..., 3] > 127).sum() > 0
        if seen:
            return Scene(*painted(sprites, places, surfaces, rng), labels, plan.objects)
    raise AssertionError(f"no room for {plan}")


def sides(plan: Plan, rng: Rng) -> np.ndarray:
    """The longer side of each object's box in pixels."""
    count = len(plan.objects)
    largest = min(LARGEST, 105 if plan.relation else LARGEST, {1: 120, 2: 120, 3: 100, 4: 84}.get(count, 72))
    return rng.uniform(SMALLEST + 4 if count > 4 else SMALLEST + 10, largest, count)


def sprite(name: str, surface: colours.RGB, side: float, rng: Rng) -> np.ndarray:
    """An object as (H, W, 4) float32, 0 to 255, lit and with a surface; alpha above 127 is the object."""
    kind = KINDS[name]
    drawing = pen.Pen(surface)
    kind.draw(drawing, rng)
    shape = pen.render(
        drawing, side, rng.uniform(-kind.turn, kind.turn), rng.uniform(0.88, 1.12), kind.mirror and rng.random() < 0.5
    )
    # crop to what is more than half covered, so that the mask's box is the sprite's
    left, top, right, bottom = box_of(shape[..., 3] > 127)
    shape = shape[top:bottom, left:right].astype(np.float32)
    shape[..., :3] *= lit(shape[..., 3], rng)[..., None]
    return shape


def lit(alpha: np.ndarray, rng: Rng) -> np.ndarray:
    """Light from one side on a rounded body, and grain: factors (H, W), about 0.7 to 1.2."""
    height, width = alpha.shape
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)])
    radius = max(1.0, 0.07 * max(height, width))
    pad = math.ceil(2 * radius)
    solid = Image.fromarray(np.pad(alpha, pad).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    depth = np.asarray(solid, np.float32)[pad:-pad, pad:-pad] / 255
    down, across = np.gradient(depth) if min(height, width) > 1 else (0 * depth, 0 * depth)
    bevel = -(light[0] * across + light[1] * down) * radius
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    slope = light[0] * x + light[1] * y
    grain = rng.normal(0, rng.uniform(0.0, 0.03), alpha.shape).astype(np.float32)
    strength = rng.uniform(0.2, 0.5)
    return np.asarray(
        np.clip(0.98 + strength * bevel + 0.16 * slope + grain - 0.10 * (1 - depth), 0.66, 1.2), np.float32
    )


def placed(sizes: Sequence[tuple[int, int]], relation: str | None, rng: Rng) -> list[tuple[int, int]] | None:
    """Left and top of every object, apart but for corners of their boxes; None where it did not work out."""
    places: list[tuple[int, int]] = []
    if relation:
        pair = related(sizes[0], sizes[1], relation, rng)
        if pair is None:
            return None
        places += pair
    for width, height in sizes[len(places) :]:
        for _ in range(60):
            left = int(rng.integers(EDGE, SIZE - EDGE - width + 1))
            top = int(rng.integers(EDGE, SIZE - EDGE - height + 1))
            if all(overlap((left, top, width, height), (*p, *s)) < 0.06 for p, s in zip(places, sizes, strict=False)):
                places.append((left, top))
                break
        else:
            return None
    return places


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Share of the smaller one of two boxes (left, top, width, height) that the other covers."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, across) * max(0, down) / min(a[2] * a[3], b[2] * b[3])


def related(first: tuple[int, int], second: tuple[int, int], relation: str, rng: Rng) -> list[tuple[int, int]] | None:
    """Places of two objects, the second one clearly in a direction from the first.

    Their boxes do not overlap along the axis and their centres are within 18 degrees of it, so that GenEval's rule
    (a share of 0.5 of the distance, less a tenth of the sizes) holds for this relation and fails for the others.
    """
    axis = AXES[relation]
    along = 0 if axis[0] else 1
    distance = (first[along] + second[along]) / 2 + rng.uniform(5, 40)
    aside = distance * math.tan(math.radians(rng.uniform(-18, 18)))
    shift = (axis[0] * distance, aside) if along == 0 else (aside, axis[1] * distance)
    # corners of the second relative to the first one's
    offset = [round(shift[i] + (first[i] - second[i]) / 2) for i in (0, 1)]
    start = []
    for i in (0, 1):
        low, high = EDGE - min(0, offset[i]), SIZE - EDGE - max(first[i], offset[i] + second[i])
        if low > high:
            return None
        start.append(int(rng.integers(low, high + 1)))
    return [(start[0], start[1]), (start[0] + offset[0], start[1] + offset[1])]


def painted(
    sprites: Sequence[np.ndarray], places: Sequence[tuple[int, int]], surfaces: Sequence[colours.RGB], rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """The picture with and without its objects: shadows, then the objects, then the camera's gain, cast and noise."""
    bare = background(SIZE, surfaces, rng)
    picture = bare.copy()
    angle, strength = rng.uniform(0.2, 2.9), rng.uniform(0.15, 0.55)
    for part, (left, top) in zip(sprites, places, strict=True):
        reach = 0.06 * max(part.shape[:2]) + 1
        shadow(
            picture,
            part[..., 3],
            left + round(reach * math.cos(angle)),
            top + round(reach * math.sin(angle)),
            reach,
            strength,
        )
    for part, (left, top) in zip(sprites, places, strict=True):
        window = picture[top : top + part.shape[0], left : left + part.shape[1]]
        window += (part[..., 3:] / 255) * (part[..., :3] - window)
    gain = rng.uniform(0.88, 1.06) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
    grain = rng.normal(0, rng.uniform(0.5, 4.0), (SIZE, SIZE, 1)).astype(np.float32)
    image, without = (np.clip(p * gain + grain, 0, 255).round().astype(np.uint8) for p in (picture, bare))
    return image, without


def shadow(picture: np.ndarray, alpha: np.ndarray, left: int, top: int, blur: float, strength: float) -> None:
    """Darken the picture where an object's shadow falls."""
    pad = math.ceil(2 * blur)
    soft = Image.fromarray(np.pad(alpha, pad).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    dark = 1 - strength * np.asarray(soft, np.float32) / 255
    left, top = left - pad, top - pad
    cut_left, cut_top = max(0, -left), max(0, -top)
    window = picture[max(0, top) : top + dark.shape[0], max(0, left) : left + dark.shape[1]]
    window *= dark[cut_top : cut_top + window.shape[0], cut_left : cut_left + window.shape[1], None]
