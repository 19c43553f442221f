"""Judges for tests, which read the pictures drawn here: red tells the object, green its colour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.geneval.detectors import COLOURS, ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.prompts import OBJECTS
from lactok.specs import Asset

Thing = tuple[str, str, tuple[int, int, int, int]]  # name, colour, box


def picture(*things: Thing, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A grey RGB picture with rectangles."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    for name, colour, (left, top, right, bottom) in things:
        pixels[top:bottom, left:right] = OBJECTS.index(name), COLOURS.index(colour), 255
    return Image.fromarray(pixels)


class DrawnDetector(Detector):
    """Finds each rectangle exactly."""

    spec = JudgeSpec("drawn", OBJECTS, "MIT", comparable=False)
    calls = 0

    def detect(self, image: Image.Image) -> list[Detection]:
        type(self).calls += 1
        pixels = np.asarray(image)
        things = pixels[..., 2] == 255
        found = []
        for red, green in sorted({tuple(p) for p in pixels[things][:, :2].tolist()}):
            mask = things & (pixels[..., 0] == red) & (pixels[..., 1] == green)
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            found.append(Detection(OBJECTS[red], 0.95, tuple(float(v) for v in box), mask))
        return found


class DrawnColours(ColourClassifier):
    spec = JudgeSpec("drawn", COLOURS, "MIT", comparable=False)
    calls = 0

    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        type(self).calls += 1
        pixels = np.asarray(image)
        return [COLOURS[int(pixels[d.mask][0, 1])] for d in detections]


class Homeless(DrawnDetector):
    """Its weights are nowhere."""

    spec = JudgeSpec("homeless", OBJECTS, "MIT", comparable=False, assets=(Asset("homeless", "MIT"),))


def write(root: Path, number: int, prompt: dict[str, Any], pictures: Sequence[Image.Image]) -> Path:
    """A prompt's folder in GenEval's layout."""
    folder = root / f"{number:05}"
    (folder / "samples").mkdir(parents=True)
    (folder / "metadata.jsonl").write_text(json.dumps(prompt))
    for i, image in enumerate(pictures):
        image.save(folder / "samples" / f"{i:04}.png")
    return folder
