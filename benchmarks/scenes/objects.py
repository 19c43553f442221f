"""How the scenes' objects look: each function draws one, in the pen's colour, in a random variant and proportions.

They are twenty of the eighty objects of COCO that GenEval asks for, each with an outline and details of its own, so
that it is recognized in any colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.scenes.pen import Pen, ellipse, mirrored, rectangle, smooth

Rng = np.random.Generator

# colours of parts that stay the same in any colour of the object, RGB, 0 to 255
GREEN, STEM, WOOD = (70.0, 140.0, 50.0), (96.0, 66.0, 40.0), (110.0, 84.0, 60.0)
STEEL, PAPER, DARK = (168.0, 172.0, 178.0), (238.0, 234.0, 222.0), (38.0, 42.0, 50.0)
DOUGH, RUBBER, GLASS = (206.0, 160.0, 102.0), (34.0, 34.0, 36.0), (176.0, 206.0, 222.0)


def apple(pen: Pen, rng: Rng) -> None:
    """Draw an apple, sometimes bitten."""
    wide = rng.uniform(0.82, 0.95)
    half = [(0, -0.52), (0.34, -0.70), (0.76, -0.52), (wide, 0.0), (0.62, 0.66), (0.26, 0.9), (0, 0.82)]
    pen.line([(0, -0.5), (0.04, -0.75), (0.14, -1.0)], 0.09, STEM)
    pen.fill(smooth(mirrored(half)))
    leaf = smooth([(0.1, -0.78), (0.34, -1.04), (0.66, -0.98), (0.42, -0.76)])
    pen.fill(leaf, GREEN)
    pen.line(ellipse(0, -0.60, 0.22, 0.10, 20, 160), 0.05, 0.6)
    if rng.random() < 0.3:
        for y in (-0.18, 0.12):
            pen.hole(ellipse(0.92, y, 0.26, 0.24))


def banana(pen: Pen, rng: Rng) -> None:
    """Draw a bent banana."""
    bend = rng.uniform(58, 74)
    angles = np.radians(np.linspace(90 - bend, 90 + bend, 24))
    thickness = rng.uniform(0.17, 0.22) * np.sqrt(np.clip(1 - np.linspace(-1, 1, 24) ** 4, 0.06, 1))
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    pen.fill(np.concatenate([ring * (1 + thickness)[:, None], (ring * (1 - thickness)[:, None])[::-1]]))
    pen.line(ring[2:-2] * 1.0, 0.035, 0.72)
    pen.line(ring[3:-3] * (1 + 0.55 * thickness[3:-3, None]), 0.03, 0.82)
    pen.line([tuple(ring[0]), tuple(ring[0] * 0.99 + [0.03, -0.16])], 0.11, (74.0, 58.0, 34.0))
    pen.line([tuple(ring[-1]), tuple(ring[-1] + [-0.02, -0.03])], 0.10, (58.0, 46.0, 30.0))


def orange(pen: Pen, rng: Rng) -> None:
    """Draw a slice of an orange, whole or half, with its segments."""
    end = 180 if rng.random() < 0.35 else 360
    pith = pen.either(1.72, 1.38)
    pen.fill(ellipse(0, 0, 1, 1, 0, end), 0.92)
    pen.fill(ellipse(0, 0, 0.86, 0.86, 0, end), pith)
    count = int(rng.integers(4, 6)) * end // 180
    for i in range(count):
        start, stop = (i + 0.10) * end / count, (i + 0.90) * end / count
        middle = math.radians((start + stop) / 2)
        x, y = 0.10 * math.cos(middle), 0.10 * math.sin(middle)
        pen.fill(np.concatenate([[(x, y)], ellipse(0, 0, 0.77, 0.77, start, stop)]), 0.97)


def carrot(pen: Pen, rng: Rng) -> None:
    """Draw a carrot with its leaves."""
    top = rng.uniform(0.24, 0.32)
    for x, y in ((-0.28, -0.92), (-0.1, -1.05), (0.12, -1.02), (0.3, -0.9)):
        pen.line([(0, -0.5), (0.6 * x, 0.3 + 0.9 * y), (x, y)], 0.1, GREEN)
        pen.line([(0.6 * x, 0.35 + 0.9 * y), (x - 0.06, y + 0.12)], 0.08, (96.0, 170.0, 66.0))
    pen.fill(
        smooth(mirrored([(0, -0.56), (top * 0.7, -0.54), (top, -0.36), (top * 0.72, 0.2), (0.07, 0.92), (0, 1.0)]))
    )
    for i, y in enumerate(np.linspace(-0.32, 0.55, 5)):
        wide = (top - 0.02) * (1 - (y + 0.4) / 1.6)
        left = -wide if i % 2 else wide
        pen.line([(left, y), (left * 0.1, y + 0.04)], 0.04, 0.7)


def donut(pen: Pen, rng: Rng) -> None:
    """Draw a donut with icing and sprinkles."""
    hole = rng.uniform(0.26, 0.34)
    pen.fill(ellipse(0, 0, 1, 1), DOUGH)
    angles = np.linspace(0, 2 * math.pi, 48)
    edge = 0.91 + 0.035 * np.sin(angles * int(rng.integers(6, 10)))
    pen.fill(np.stack([edge * np.cos(angles), edge * np.sin(angles)], 1))
    pen.line(ellipse(0, 0, hole + 0.03, hole + 0.03), 0.07, 0.72)
    bright = ((240, 240, 240), (250, 210, 60), (70, 160, 230), (230, 70, 90), (110, 200, 110))
    for i in range(int(rng.integers(12, 20))):
        angle, radius, turn = i * 2.4, rng.uniform(hole + 0.14, 0.80), rng.uniform(0, math.pi)
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        dx, dy = 0.06 * math.cos(turn), 0.06 * math.sin(turn)
        r, g, b = bright[i % len(bright)]
        pen.line([(x - dx, y - dy), (x + dx, y + dy)], 0.045, (float(r), float(g), float(b)))
    pen.hole(ellipse(0, 0, hole, hole))


def pizza(pen: Pen, rng: Rng) -> None:
    """Draw a slice of pizza, or a whole one with a slice taken out."""
    topping = pen.either(0.55, 1.45)
    if rng.random() < 0.6:
        arc = ellipse(0, 1.0, 1.9, 1.9, 242, 298)
        pen.fill(np.concatenate([[(0, 1.0)], arc]), 1.0)
        pen.line(arc, 0.24, DOUGH)
        for x, y in ((-0.3, -0.46), (0.32, -0.4), (0.0, 0.02), (0.06, 0.48)):
            pen.fill(ellipse(x, y, 0.155, 0.155), topping)
        green = ((0.02, -0.55), (-0.22, -0.05), (0.24, 0.12))
    else:
        start = 40.0
        pen.fill(np.concatenate([[(0, 0)], ellipse(0, 0, 1, 1, start, start + 315)]), DOUGH)
        pen.fill(np.concatenate([[(0, 0)], ellipse(0, 0, 0.86, 0.86, start, start + 315)]), 1.0)
        for i in range(7):
            angle = math.radians(start + 22.5 + 45 * i)
            pen.fill(ellipse(0.56 * math.cos(angle), 0.56 * math.sin(angle), 0.13, 0.13), topping)
            cut = math.radians(start + 45 * i)
            pen.line([(0, 0), (0.95 * math.cos(cut), 0.95 * math.sin(cut))], 0.03, 0.6)
        green = ((0.25, -0.3), (-0.3, 0.2), (-0.2, -0.34))
    for x, y in green:
        pen.line([(x - 0.07, y), (x + 0.05, y + 0.05)], 0.05, GREEN)


def cup(pen: Pen, rng: Rng) -> None:
    """Draw a mug."""
    low = rng.uniform(0.46, 0.62)
    pen.line(ellipse(0.62, 0.02, 0.38, 0.40, -85, 85), 0.15, 0.86)
    pen.fill([(-0.64, -0.66), (0.64, -0.66), (low, 0.70), (-low, 0.70)])
    pen.fill(ellipse(0, 0.70, low, 0.13))
    if rng.random() < 0.5:
        pen.fill([(-0.62, -0.2), (0.62, -0.2), (0.59, 0.1), (-0.59, 0.1)], pen.either(0.8, 1.15))
    pen.fill(ellipse(0, -0.66, 0.64, 0.17), pen.either(0.9, 1.15))
    pen.fill(ellipse(0, -0.64, 0.55, 0.125), (72.0, 46.0, 28.0) if rng.random() < 0.6 else 0.55)


def bowl(pen: Pen, rng: Rng) -> None:
    """Draw a bowl on its foot."""
    deep = rng.uniform(0.62, 0.8)
    pen.fill(rectangle(-0.32, deep - 0.32, 0.32, deep - 0.08), 0.8)
    pen.fill(ellipse(0, -0.25, 1, deep, 0, 180))
    if rng.random() < 0.5:
        pen.line(ellipse(0, -0.25, 0.92, deep * 0.62, 12, 168), 0.07, pen.either(0.72, 1.3))
    pen.fill(ellipse(0, -0.25, 1, 0.24), pen.either(0.88, 1.15))
    pen.fill(ellipse(0, -0.23, 0.87, 0.175), pen.either(0.58, 1.12))


def bottle(pen: Pen, rng: Rng) -> None:
    """Draw a bottle with a cap and a label."""
    wide, neck = rng.uniform(0.27, 0.35), rng.uniform(0.09, 0.12)
    shoulder = rng.uniform(-0.35, -0.15)
    half = [(0, -0.86), (neck, -0.86), (neck, shoulder - 0.26), (wide * 0.8, shoulder - 0.06), (wide, shoulder + 0.12)]
    half += [(wide, 0.9), (wide - 0.05, 1.0), (0, 1.0)]
    pen.fill(mirrored(half))
    pen.fill(rectangle(-neck - 0.03, -1.0, neck + 0.03, -0.84), pen.ink)
    pen.fill(rectangle(-wide, 0.15, wide, 0.68), PAPER if min(pen.colour) < 190 else (96.0, 96.0, 100.0))
    for y in (0.30, 0.42, 0.53):
        pen.line([(-wide * 0.6, y), (wide * 0.6, y)], 0.04, 0.7)
    pen.line([(-wide * 0.62, shoulder + 0.2), (-wide * 0.62, 0.1)], 0.05, 1.45)


def wine_glass(pen: Pen, rng: Rng) -> None:
    """Draw a half-full wine glass."""
    wide = rng.uniform(0.44, 0.54)
    half = [(wide * 0.82, -1.0), (wide * 0.95, -0.7), (wide, -0.42), (wide * 0.72, -0.08), (0.06, 0.12)]
    pen.fill(smooth(mirrored([(0.0, -1.0), *half, (0.0, 0.14)])), 1.45)
    pen.fill(smooth(mirrored([(0.0, -0.55), (wide * 0.97, -0.55), (wide * 0.96, -0.38), *half[3:], (0.0, 0.14)])))
    pen.fill(ellipse(0, -0.55, wide * 0.95, 0.07), pen.either(0.75, 1.2))
    pen.line([(0, 0.1), (0, 0.88)], 0.1, 1.0)
    pen.fill(ellipse(0, 0.9, 0.44, 0.1), 0.92)
    pen.line([(-wide * 0.6, -0.85), (-wide * 0.66, -0.3)], 0.05, 1.75)


def clock(pen: Pen, rng: Rng) -> None:
    """Draw a wall clock, or an alarm clock with bells and feet."""
    if rng.random() < 0.5:
        for side in (-1, 1):
            pen.line([(side * 0.55, 0.75), (side * 0.72, 1.05)], 0.14, pen.ink)
            pen.fill(ellipse(side * 0.56, -0.84, 0.3, 0.26), 0.8)
        pen.line(ellipse(0, -0.95, 0.2, 0.24, 180, 360), 0.07, pen.ink)
    pen.fill(ellipse(0, 0, 1, 1), pen.either(0.62, 1.3))
    pen.fill(ellipse(0, 0, 0.84, 0.84))
    for hour in range(12):
        angle = math.radians(30 * hour)
        near, wide = (0.58, 0.09) if hour % 3 == 0 else (0.66, 0.05)
        pen.line([(r * math.cos(angle), r * math.sin(angle)) for r in (near, 0.76)], wide, pen.ink)
    first, apart = rng.uniform(0, 360), rng.uniform(50, 310)
    for degrees, long, wide in ((first, 0.40, 0.11), (first + apart, 0.62, 0.075)):
        angle = math.radians(degrees)
        pen.line([(0, 0), (long * math.cos(angle), long * math.sin(angle))], wide, pen.ink)
    pen.fill(ellipse(0, 0, 0.08, 0.08), pen.ink)


def umbrella(pen: Pen, rng: Rng) -> None:
    """Draw an open umbrella with ribs and a hooked handle."""
    scallops = int(rng.integers(3, 6))
    pen.line([(0, -0.9), (0, 0.62)], 0.07, WOOD)
    pen.line(ellipse(0.15, 0.64, 0.15, 0.22, 0, 180), 0.09, WOOD)
    pen.line([(0, -1.02), (0, -0.8)], 0.07, pen.ink)
    pen.fill(ellipse(0, 0.05, 1, 0.95, 180, 360))
    ends = np.linspace(-1, 1, scallops + 1)
    for i in range(scallops):
        left, right = float(ends[i]), float(ends[i + 1])
        if i % 2:
            curve = [(0.0, -0.9)]
            curve += [(left * s, 0.05 - 0.95 * math.sqrt(max(0.0, 1 - s**2))) for s in np.linspace(0.1, 1, 8)]
            curve += [(right * s, 0.05 - 0.95 * math.sqrt(max(0.0, 1 - s**2))) for s in np.linspace(1, 0.1, 8)]
            pen.fill(curve, pen.either(0.78, 1.15))
    for x in ends[1:-1]:
        rib = [(float(x) * s, 0.05 - 0.95 * math.sqrt(max(0.0, 1 - s**2))) for s in np.linspace(0, 1, 10)]
        pen.line(rib, 0.03, pen.either(0.6, 1.3))
    for i in range(scallops):
        middle, half = float(ends[i] + ends[i + 1]) / 2, 1 / scallops
        pen.hole(ellipse(middle, 0.07, half * 0.92, 0.16))
    pen.line([(0, -0.02), (0, 0.3)], 0.07, WOOD)


def kite(pen: Pen, rng: Rng) -> None:
    """Draw a kite with a tail of ribbons."""
    waist, wide = rng.uniform(-0.48, -0.34), rng.uniform(0.48, 0.6)
    tail = [(0.12 * math.sin(6.0 * s), 0.38 + 0.64 * s) for s in np.linspace(0, 1, 14)]
    pen.line(tail, 0.035, pen.ink)
    for i in (5, 9, 13):
        x, y = tail[i]
        pen.fill([(x - 0.15, y - 0.07), (x + 0.15, y + 0.07), (x + 0.15, y - 0.07), (x - 0.15, y + 0.07)], 0.9)
    top, bottom = (0.0, -1.0), (0.0, 0.42)
    other = pen.either(0.74, 1.15)
    for x, first, second in ((-wide, 1.0, other), (wide, other, 1.0)):
        pen.fill([top, (x, waist), (0.0, waist)], first)
        pen.fill([bottom, (x, waist), (0.0, waist)], second)
    pen.line([top, bottom], 0.035, pen.ink)
    pen.line([(-wide, waist), (wide, waist)], 0.035, pen.ink)


def book(pen: Pen, rng: Rng) -> None:
    """Draw a closed book that stands a little turned: its cover, spine and the edges of its pages."""
    wide, thick = rng.uniform(0.6, 0.72), rng.uniform(0.14, 0.22)
    pen.fill([(-wide, 0.8), (wide, 0.8), (wide + 0.05, 0.8 + thick), (-wide + 0.05, 0.8 + thick)], PAPER)
    for s in (0.3, 0.6):
        pen.line([(-wide + 0.05, 0.8 + thick * s), (wide + 0.04, 0.8 + thick * s)], 0.02, (170.0, 164.0, 150.0))
    pen.line([(-wide + 0.04, 0.8 + thick), (wide + 0.05, 0.8 + thick)], 0.06, 0.8)
    pen.fill(rectangle(-wide, -0.95, wide, 0.82, 0.04))
    pen.fill(rectangle(-wide, -0.95, -wide + 0.18, 0.82), pen.either(0.66, 1.15))
    light = PAPER if min(pen.colour) < 190 else (120.0, 120.0, 124.0)
    if rng.random() < 0.6:
        pen.fill(rectangle(-wide + 0.36, -0.66, wide - 0.18, -0.22), light)
        for y in (-0.53, -0.36):
            pen.line([(-wide + 0.48, y), (wide - 0.30, y)], 0.06, pen.ink if light == PAPER else PAPER)
    else:
        for y, half in ((-0.6, 0.30), (-0.42, 0.2), (0.55, 0.16)):
            pen.line([(0.09 - half, y), (0.09 + half, y)], 0.08, light)


def tv(pen: Pen, rng: Rng) -> None:
    """Draw an old television with aerials and knobs, or a flat one on a foot."""
    old = rng.random() < 0.5
    if old:
        for x in (-0.5, 0.5):
            pen.line([(0, -0.55), (x, -1.02)], 0.05, STEEL)
            pen.line([(x, 0.6), (x * 1.25, 0.88)], 0.1, 0.7)
    else:
        pen.line([(0, 0.6), (0, 0.82)], 0.2, 0.8)
        pen.fill(rectangle(-0.45, 0.76, 0.45, 0.88, 0.05), 0.8)
    pen.fill(rectangle(-1.0, -0.62, 1.0, 0.64, 0.12))
    right = 0.52 if old else 0.80
    pen.fill(rectangle(-0.82, -0.45, right, 0.46, 0.12 if old else 0.03), DARK)
    pen.fill([(-0.66, 0.40), (-0.26, -0.40), (0.04, -0.40), (-0.36, 0.40)], (82.0, 92.0, 106.0))
    if old:
        for y in (-0.28, 0.0):
            pen.fill(ellipse(0.76, y, 0.12, 0.12), pen.ink)
        for y in (0.24, 0.34, 0.44):
            pen.line([(0.64, y), (0.88, y)], 0.04, pen.ink)


def traffic_light(pen: Pen, rng: Rng) -> None:
    """Draw a traffic light of which one lamp is lit."""
    wide = rng.uniform(0.34, 0.4)
    pen.line([(0, 0.55), (0, 1.0)], 0.14, (120.0, 122.0, 126.0))
    pen.fill(rectangle(-wide, -1.0, wide, 0.68, 0.1))
    lit = int(rng.integers(3))
    for i, (y, lamp) in enumerate(
        zip((-0.72, -0.16, 0.40), ((235, 40, 36), (250, 200, 40), (50, 200, 90)), strict=True)
    ):
        pen.fill(ellipse(0, y, 0.25, 0.25), (30.0, 30.0, 32.0))
        glow = 1.0 if i == lit else 0.72
        pen.fill(ellipse(0, y + 0.02, 0.20, 0.20), (lamp[0] * glow, lamp[1] * glow, lamp[2] * glow))
        pen.line(ellipse(0, y, 0.26, 0.26, 200, 340), 0.06, pen.either(0.62, 1.3))


def stop_sign(pen: Pen, rng: Rng) -> None:
    """Draw an octagonal stop sign on its post."""
    light = (244.0, 244.0, 240.0) if min(pen.colour) < 190 else (40.0, 40.0, 44.0)
    pen.line([(0, 0.3), (0, 1.25 + rng.uniform(0, 0.25))], 0.12, (128.0, 130.0, 134.0))
    angles = np.radians(22.5 + 45 * np.arange(8))
    octagon = np.stack([np.cos(angles), np.sin(angles)], 1)
    pen.fill(octagon * 1.0, 0.92)
    pen.fill(octagon * 0.94, light)
    pen.fill(octagon * 0.86)
    letters = (
        [(0.12, -0.18), (-0.10, -0.22), (-0.12, -0.03), (0.12, 0.05), (0.11, 0.22), (-0.12, 0.18)],
        [(-0.15, -0.22), (0.15, -0.22), (0.0, -0.22), (0.0, 0.24)],
        [(-0.12, -0.22), (0.12, -0.22), (0.12, 0.22), (-0.12, 0.22), (-0.12, -0.22)],
        [(-0.11, 0.24), (-0.11, -0.22), (0.12, -0.22), (0.12, 0.02), (-0.11, 0.02)],
    )
    for i, letter in enumerate(letters):
        pen.line([(x + 0.4 * i - 0.6, y) for x, y in letter], 0.085, light)


def sports_ball(pen: Pen, rng: Rng) -> None:
    """Draw a basketball with its seams, or a football with its patches."""
    pen.fill(ellipse(0, 0, 1, 1))
    if rng.random() < 0.5:
        pen.line([(-0.97, 0), (0.97, 0)], 0.065, pen.ink)
        pen.line([(0, -0.97), (0, 0.97)], 0.065, pen.ink)
        for x, start in ((-1.15, -47), (1.15, 133)):
            pen.line(ellipse(x, 0, 0.80, 0.98, start, start + 94), 0.065, pen.ink)
        return
    patch = 1.15 if pen.dark else pen.ink  # light patches would make a black ball look white
    for i in range(5):
        angle = math.radians(72 * i - 90)
        step = math.radians(19)
        pen.line([(r * math.cos(angle), r * math.sin(angle)) for r in (0.36, 0.70)], 0.05, patch)
        rim = [(0.985 * math.cos(angle + s), 0.985 * math.sin(angle + s)) for s in np.linspace(-step, step, 5)]
        inner = [(0.70 * math.cos(angle + s), 0.70 * math.sin(angle + s)) for s in (step * 0.8, -step * 0.8)]
        pen.fill([*rim, *inner], patch)
        between = angle + math.radians(36)
        for side in (-1, 1):
            corner = angle + math.radians(36) + side * math.radians(36 - 15)
            pen.line(
                [
                    (0.70 * math.cos(corner), 0.70 * math.sin(corner)),
                    (0.62 * math.cos(between), 0.62 * math.sin(between)),
                ],
                0.05,
                patch,
            )
    angles = np.radians(72 * np.arange(5) - 90)
    pen.fill(np.stack([0.38 * np.cos(angles), 0.38 * np.sin(angles)], 1), patch)


def scissors(pen: Pen, rng: Rng) -> None:
    """Draw opened scissors, whose handles have the object's colour."""
    spread = rng.uniform(16, 26)
    steel = tuple(0.55 * s + 0.45 * c for s, c in zip(STEEL, pen.colour, strict=True))
    for side in (-1, 1):
        turn = math.radians(side * spread)
        cosine, sine = math.cos(turn), math.sin(turn)
        rotation = np.array([[cosine, -sine], [sine, cosine]])
        blade = np.array([(-0.09, 0.12), (0.09, 0.12), (0.10, -0.3), (0.02 * side, -1.05), (-0.10, -0.3)])
        pen.fill(blade @ rotation.T, (steel[0], steel[1], steel[2]))
        pen.line(np.array([(0, 0.06), (0, 0.5)]) @ rotation.T, 0.17)
        pen.line((ellipse(0, 0.74, 0.25, 0.30)) @ rotation.T, 0.17)
    pen.fill(ellipse(0, 0.02, 0.07, 0.07), pen.ink)


def car(pen: Pen, rng: Rng) -> None:
    """Draw a car from the side."""
    roof = rng.uniform(-0.58, -0.46)
    body = [(-1.0, 0.22), (-0.98, -0.06), (-0.68, -0.14), (-0.46, roof), (0.22, roof), (0.54, -0.12), (0.92, -0.04)]
    pen.fill([*body, (1.0, 0.08), (1.0, 0.26), (0.94, 0.3), (-0.96, 0.3)])
    pen.fill([(-0.58, -0.13), (-0.41, roof + 0.08), (-0.12, roof + 0.08), (-0.12, -0.13)], GLASS)
    pen.fill([(-0.04, -0.13), (-0.04, roof + 0.08), (0.18, roof + 0.08), (0.42, -0.13)], GLASS)
    pen.line([(-0.08, -0.12), (-0.08, 0.26)], 0.03, pen.either(0.66, 1.3))
    pen.line([(-0.02, 0.0), (0.1, 0.0)], 0.04, pen.ink)
    pen.fill(ellipse(0.94, 0.06, 0.06, 0.07), (250.0, 240.0, 180.0))
    for x in (-0.56, 0.58):
        pen.fill(ellipse(x, 0.3, 0.25, 0.25), RUBBER)
        pen.fill(ellipse(x, 0.3, 0.12, 0.12), STEEL)


@dataclass(frozen=True)
class Kind:
    """An object of the vocabulary.

    Attributes:
        draw: draws the object with a pen, a variant of it by the random generator.
        turn: how far it may be turned either way, in degrees.
        mirror: whether it may be mirrored; objects with letters may not.
    """

    draw: Callable[[Pen, Rng], None]
    turn: float = 12
    mirror: bool = True


KINDS: dict[str, Kind] = {
    "apple": Kind(apple, 20),
    "banana": Kind(banana, 180),
    "book": Kind(book, 20, mirror=False),
    "bottle": Kind(bottle, 15),
    "bowl": Kind(bowl, 8),
    "car": Kind(car, 8),
    "carrot": Kind(carrot, 180),
    "clock": Kind(clock, 12),
    "cup": Kind(cup, 10),
    "donut": Kind(donut, 180),
    "kite": Kind(kite, 50),
    "orange": Kind(orange, 180),
    "pizza": Kind(pizza, 180),
    "scissors": Kind(scissors, 180),
    "sports ball": Kind(sports_ball, 180),
    "stop sign": Kind(stop_sign, 8, mirror=False),
    "traffic light": Kind(traffic_light, 8),
    "tv": Kind(tv, 8),
    "umbrella": Kind(umbrella, 25),
    "wine glass": Kind(wine_glass, 12),
}
VOCABULARY = tuple(KINDS)
