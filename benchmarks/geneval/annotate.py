"""Draw a verdict on its picture: the objects that counted, with scores and colours, and the reason in words below."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.geneval.detectors import Detection

VERSION = 1
SIDE = (256, 1024)  # px; the longer side is brought between them
LINES = 12  # of text at most; what does not fit ends in "..."
LONGEST = 1000  # characters of a text that are looked at
RIGHT, WRONG, INK, PAPER = (0, 120, 60), (180, 30, 30), (20, 20, 20), (255, 255, 255)
# of boxes and masks, a colour a class
PALETTE = (
    (230, 25, 75),
    (0, 130, 200),
    (245, 130, 48),
    (60, 180, 75),
    (145, 30, 180),
    (0, 160, 160),
    (240, 50, 230),
    (128, 100, 0),
    (0, 0, 128),
    (128, 0, 0),
)


def draw(
    image: Image.Image,
    kept: Mapping[str, Sequence[Detection]],
    colours: Mapping[str, Sequence[str]],
    prompt: str,
    correct: bool,
    reason: str,
) -> Image.Image:
    """Return an RGB image with the boxes and masks of the detections that counted, and prompt and verdict below it.

    Args:
        image: the judged picture.
        kept: the detections that counted by class, best first.
        colours: by class, the colours of the first of its detections, where the scorer asked for them.
        prompt: what the picture should show.
        correct: the verdict.
        reason: why the picture is wrong, one line per reason.
    """
    scale = min(SIDE[1] / max(image.size), max(1.0, SIDE[0] / max(image.size)))
    width, height = (max(1, round(side * scale)) for side in image.size)
    picture = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    font = ImageFont.load_default(size=max(11, round(max(width, height) / 42)))
    for i, detections in enumerate(kept.values()):
        for detection in detections:
            _mask(picture, detection, PALETTE[i % len(PALETTE)])
    pen = ImageDraw.Draw(picture)
    for i, (name, detections) in enumerate(kept.items()):
        seen = colours.get(name, ())
        for k, detection in reversed(list(enumerate(detections))):  # the best one's label lies on top
            label = f"{seen[k]} {name}" if k < len(seen) else name
            _box(pen, detection, PALETTE[i % len(PALETTE)], f"{label} {detection.score:.2f}", font, scale)
    return _captioned(picture, prompt, correct, reason, font)


def _mask(picture: Image.Image, detection: Detection, colour: tuple[int, int, int]) -> None:
    """Paint a detection's mask on the picture, translucent and in one colour."""
    if detection.mask is None:
        return
    mask = Image.fromarray(np.asarray(detection.mask, np.uint8) * 110).resize(picture.size)
    picture.paste(colour, (0, 0), mask)


def _box(
    pen: ImageDraw.ImageDraw,
    detection: Detection,
    colour: tuple[int, int, int],
    label: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    scale: float,
) -> None:
    """Draw a detection's box with its label at the upper left.

    Args:
        scale: size of the drawn picture over the size of the image that the box belongs to.
    """
    sides = np.nan_to_num(np.asarray(detection.box, np.float64) * scale)
    limits = np.array([*pen.im.size, *pen.im.size]) - 1
    left, top, right, bottom = np.clip(sides, 0, limits).tolist()
    pen.rectangle((min(left, right), min(top, bottom), max(left, right), max(top, bottom)), outline=colour, width=2)
    text = printable(label)[:40]
    room = pen.textbbox((0, 0), text, font=font)
    x, y = min(left, max(0, limits[0] - room[2] - 3)), max(0, top - room[3] - 3)
    pen.rectangle((x, y, x + room[2] + 4, y + room[3] + 3), fill=colour)
    pen.text((x + 2, y), text, fill=PAPER, font=font)


def _captioned(
    picture: Image.Image,
    prompt: str,
    correct: bool,
    reason: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> Image.Image:
    """Return the picture on a sheet with the prompt and the verdict below it."""
    width = max(picture.width, SIDE[0])
    verdict = "correct" if correct else f"wrong: {reason}"
    lines = [(line, INK) for line in wrapped(prompt, width - 12, font)]
    for part in verdict.split("\n", LINES)[:LINES]:
        lines += [(line, RIGHT if correct else WRONG) for line in wrapped(part, width - 12, font)]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], ("...", lines[-1][1])]
    step = round(font.getbbox("Ag")[3] * 1.25)
    sheet = Image.new("RGB", (width, picture.height + step * len(lines) + 10), PAPER)
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, (line, colour) in enumerate(lines):
        pen.text((6, picture.height + 4 + i * step), line, fill=colour, font=font)
    return sheet


def printable(text: str) -> str:
    """Return a text as one line, without invisible characters (controls, direction marks, lone surrogates).

    >>> printable("a\\x00 red\\n\\u202ebus")
    'a red bus'
    """
    shown = [" " if c.isspace() else c for c in text[:LONGEST] if c.isspace() or unicodedata.category(c)[0] != "C"]
    return " ".join("".join(shown).split())


def wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text into at most `LINES` + 1 lines of at most `width` pixels; a word that is longer is broken too."""
    lines: list[str] = []
    line = ""
    for word in printable(text).split():
        while word and len(lines) <= LINES:
            joined = f"{line} {word}".strip()
            if font.getlength(joined) <= width:
                line, word = joined, ""
            elif line:
                lines.append(line)
                line = ""
            else:
                fits = _fitting(word, width, font)
                lines.append(word[:fits])
                word = word[fits:]
    return [*lines, line] if line else lines or [""]


def _fitting(word: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """Return how many of the first characters of a word fit into `width` pixels; at least one."""
    return 1 + bisect_right(range(2, len(word) + 1), float(width), key=lambda count: font.getlength(word[:count]))
