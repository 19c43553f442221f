"""Compose scenes: objects before a background, with the exact mask of each."""

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

SIZE = 256  # side of a scene in pixels
SMALLEST, LARGEST = 28, 120  # bounds of the longer side of an object's box in pixels
SIDE = 104  # in plain scenes of up to four objects the longer side of each one's box in pixels
STEP = 16  # in plain scenes the left and the top of every object are multiples of this many pixels
# centres (right, down) of the objects of plain scenes, by their number, and of two that stand one below the other
CENTRES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((128, 128),),
    2: ((66, 128), (190, 128)),
    3: ((128, 66), (66, 190), (190, 190)),
    4: ((66, 66), (190, 66), (66, 190), (190, 190)),
}
COLUMN = ((128, 66), (128, 190))
LIGHT = 0.75 * math.pi  # direction of the light in plain scenes, in radians: from the upper left
VISIBLE = 0.85  # at least this share of an object is not hidden by others
EDGE = 3  # pixels that an object keeps from the picture's edge
# the direction (right, down) of each of GenEval's relations
AXES = {"right of": (1, 0), "left of": (-1, 0), "below": (0, 1), "above": (0, -1)}

Rng = np.random.Generator


@dataclass(frozen=True)
class Wanted:
    """An object to be shown: its `name` in `objects.VOCABULARY` and its `color`, one of GenEval's."""

    name: str
    color: str


@dataclass(frozen=True)
class Plan:
    """What a scene shows.

    Attributes:
        objects: all objects, those of the caption first.
        relation: where the second object stands as seen from the first: "left of", "right of", "above" or "below";
            None for anywhere.
    """

    objects: tuple[Wanted, ...]
    relation: str | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and what it shows.

    Attributes:
        image: (256, 256, 3) uint8, RGB.
        bare: the same picture without the objects and their shadows.
        labels: (256, 256) uint8, 0 for the background, i + 1 where object i is seen.
        objects: the objects in the plan's order.
    """

    image: np.ndarray
    bare: np.ndarray
    labels: np.ndarray
    objects: tuple[Wanted, ...]

    def mask(self, i: int) -> np.ndarray:
        """Return where object i is seen, (256, 256) bool."""
        return np.asarray(self.labels == i + 1)

    def box(self, i: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in pixels of what is seen of object i; right and bottom are exclusive."""
        return box_of(self.mask(i))


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the tight box of a mask that is not empty: left, top, right, bottom; right and bottom are exclusive."""
    box = Image.fromarray(mask).getbbox()
    assert box is not None
    return box


def compose(plan: Plan, seed: int, plain: bool = False) -> Scene:
    """Compose the scene of a plan; the same seed gives the same picture.

    Args:
        plan: what the scene shows.
        seed: of everything else.
        plain: large upright objects of one form for each kind and one shade for each colour, at fixed places, in
            one light, before paper of one colour, and no grain. With so little left to chance, a small network learns
            sooner what a caption says.

    Raises:
        AssertionError: in 50 attempts the objects found no room.
    """
    for attempt in range(50):
        rng = np.random.default_rng(seed_of(seed, "scene", attempt))
        surfaces = [colours.middle(w.color) if plain else colours.drawn(w.color, rng) for w in plan.objects]
        sprites = [
            sprite(w.name, s, side, rng, plain)
            for w, s, side in zip(plan.objects, surfaces, sides(plan, rng, plain), strict=True)
        ]
        boxes = [(s.shape[1], s.shape[0]) for s in sprites]
        fixed = plain and len(boxes) in CENTRES and (len(boxes) == 2 or not plan.relation)
        places = arranged(boxes, plan.relation) if fixed else placed(boxes, plan.relation, rng)
        if places is None:
            continue
        labels, seen = np.zeros((SIZE, SIZE), np.uint8), True
        for i, (part, (left, top)) in enumerate(zip(sprites, places, strict=True)):
            window = labels[top : top + part.shape[0], left : left + part.shape[1]]
            window[part[..., 3] > 127] = i + 1
        for i, part in enumerate(sprites):
            seen &= (labels == i + 1).sum() >= VISIBLE * (part[..., 3] > 127).sum() > 0
        if seen:
            return Scene(*painted(sprites, places, surfaces, rng, plain), labels, plan.objects)
    raise AssertionError(f"no room for {plan}")


def sides(plan: Plan, rng: Rng, plain: bool = False) -> np.ndarray:
    """Draw the longer side of each object's box in pixels: the more objects, the smaller; in plain scenes all alike."""
    count = len(plan.objects)
    if plain and count in CENTRES:
        return np.full(count, float(SIDE))
    largest = min(LARGEST, 105 if plan.relation else LARGEST, {1: 120, 2: 120, 3: 100, 4: 84}.get(count, 72))
    smallest = SMALLEST + 4 if count > 4 else SMALLEST + 10
    return rng.uniform(smallest, largest, count)


def sprite(name: str, surface: colours.RGB, side: float, rng: Rng, plain: bool = False) -> np.ndarray:
    """Draw an object, lit from one side.

    Args:
        name: of `objects.VOCABULARY`.
        surface: its colour, each channel 0 to 255.
        side: the longer side of its box in pixels.
        rng: its variant, pose and light come from it.
        plain: always of the same form, upright, lit from the upper left, without grain.

    Returns:
        (H, W, 4) float32, RGB and alpha, 0 to 255; the object is where alpha is above 127.
    """
    kind = KINDS[name]
    drawing = pen.Pen(surface)
    kind.draw(drawing, np.random.default_rng(0) if plain else rng)
    turn, stretch = (0.0, 1.0) if plain else (rng.uniform(-kind.turn, kind.turn), rng.uniform(0.88, 1.12))
    shape = pen.render(drawing, side, turn, stretch, not plain and kind.mirror and rng.random() < 0.5)
    # crop to the pixels that are more than half covered, so that the sprite is as large as the box of its mask
    left, top, right, bottom = box_of(shape[..., 3] > 127)
    shape = shape[top:bottom, left:right].astype(np.float32)
    shape[..., :3] *= lit(shape[..., 3], rng, plain)[..., None]
    return shape


def lit(alpha: np.ndarray, rng: Rng, plain: bool = False) -> np.ndarray:
    """Return factors (H, W), about 0.7 to 1.2, that light a rounded body from one side and, unless plain, add grain."""
    height, width = alpha.shape
    angle = LIGHT if plain else rng.uniform(0, 2 * math.pi)
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
    grain = (1 - plain) * rng.normal(0, rng.uniform(0.0, 0.03), alpha.shape).astype(np.float32)
    strength = 0.35 if plain else rng.uniform(0.2, 0.5)
    return np.asarray(
        np.clip(0.98 + strength * bevel + 0.16 * slope + grain - 0.10 * (1 - depth), 0.66, 1.2), np.float32
    )


def arranged(sizes: Sequence[tuple[int, int]], relation: str | None) -> list[tuple[int, int]]:
    """Return left and top of up to four objects of these sizes (width, height) at the places of `CENTRES`.

    A relation is that of two objects, and there are no others.

    >>> arranged([(100, 40), (40, 40)], "above")
    [(80, 176), (112, 48)]
    """
    centres = COLUMN if relation in ("above", "below") else CENTRES[len(sizes)]
    if relation in ("above", "left of"):
        centres = centres[::-1]
    return [
        (STEP * round((right - width / 2) / STEP), STEP * round((down - height / 2) / STEP))
        for (right, down), (width, height) in zip(centres, sizes, strict=True)
    ]


def placed(sizes: Sequence[tuple[int, int]], relation: str | None, rng: Rng) -> list[tuple[int, int]] | None:
    """Draw left and top of objects of these sizes (width, height), hardly overlapping; None if they do not fit."""
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
    """Return the share of the smaller of two boxes (left, top, width, height) that the other one covers."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, across) * max(0, down) / min(a[2] * a[3], b[2] * b[3])


def related(first: tuple[int, int], second: tuple[int, int], relation: str, rng: Rng) -> list[tuple[int, int]] | None:
    """Draw left and top of two objects, the second clearly in a direction from the first; None if they do not fit.

    Their boxes do not overlap along the axis and their centres lie within 18 degrees of it, so that GenEval's rule
    (in a relation's direction, the offset of the centres less a tenth of the sizes is more than half of their distance)
    holds for this relation and for no other.
    """
    axis = AXES[relation]
    along = 0 if axis[0] else 1
    distance = (first[along] + second[along]) / 2 + rng.uniform(5, 40)
    aside = distance * math.tan(math.radians(rng.uniform(-18, 18)))
    shift = (axis[0] * distance, aside) if along == 0 else (aside, axis[1] * distance)
    # from the left top corner of the first box to that of the second
    offset = [round(shift[i] + (first[i] - second[i]) / 2) for i in (0, 1)]
    start = []
    for i in (0, 1):
        low, high = EDGE - min(0, offset[i]), SIZE - EDGE - max(first[i], offset[i] + second[i])
        if low > high:
            return None
        start.append(int(rng.integers(low, high + 1)))
    return [(start[0], start[1]), (start[0] + offset[0], start[1] + offset[1])]


def painted(
    sprites: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
    surfaces: Sequence[colours.RGB],
    rng: Rng,
    plain: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint the background, shadows, the objects and, unless plain, a camera's gain, colour cast and noise.

    Returns:
        The picture with its objects and the same without them, (256, 256, 3) uint8.
    """
    bare = background(SIZE, surfaces, rng, plain)
    picture = bare.copy()
    angle, strength = (0.25 * math.pi, 0.35) if plain else (rng.uniform(0.2, 2.9), rng.uniform(0.15, 0.55))
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
    gain = 1.0 if plain else rng.uniform(0.88, 1.06) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
    grain = (1 - plain) * rng.normal(0, rng.uniform(0.5, 4.0), (SIZE, SIZE, 1)).astype(np.float32)
    image, without = (np.clip(p * gain + grain, 0, 255).round().astype(np.uint8) for p in (picture, bare))
    return image, without


def shadow(picture: np.ndarray, alpha: np.ndarray, left: int, top: int, blur: float, strength: float) -> None:
    """Darken the picture (H, W, 3) in place where the shadow of an object of this alpha (h, w), 0 to 255, falls."""
    pad = math.ceil(2 * blur)
    soft = Image.fromarray(np.pad(alpha, pad).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    dark = 1 - strength * np.asarray(soft, np.float32) / 255
    left, top = left - pad, top - pad
    cut_left, cut_top = max(0, -left), max(0, -top)
    window = picture[max(0, top) : top + dark.shape[0], max(0, left) : left + dark.shape[1]]
    window *= dark[cut_top : cut_top + window.shape[0], cut_left : cut_left + window.shape[1], None]
