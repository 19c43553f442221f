"""Stages of data construction that need no weights, for `FILE.py:CLASS`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lactok.data import Captioner, Filter, Made, Pair, PictureSource, PromptSource, Score, StageSpec

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20)}


class Endless(PromptSource):
    """A red or a green bus, by the number and the seed."""

    spec = StageSpec("endless")

    def prompts(self, numbers: Sequence[int], seed: int) -> list[str]:
        return [f"a {('red', 'green')[(number + seed) % 2]} bus" for number in numbers]


class Painter(PictureSource):
    """A plain picture in the prompt's colour, with some noise; every third seed gives the other colour."""

    spec = StageSpec("painter", side=24)

    def make(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Made]:
        made = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            asked = "red" if "red" in prompt else "green"
            shown = {"red": "green", "green": "red"}[asked] if seed % 3 == 0 else asked
            rng = np.random.default_rng(seed)
            pixels = np.array(COLOURS[shown]) + rng.integers(-9, 10, (24, 24, 3))
            made.append(Made(Image.fromarray(pixels.astype(np.uint8)), {"shown": shown}))
        return made


class Polite(Captioner):
    """The prompt with a word before it; none for a picture that has no prompt."""

    spec = StageSpec("polite")

    def captions(self, pairs: Sequence[Pair]) -> list[str]:
        return [f"here is {pair.prompt}" if pair.prompt else "" for pair in pairs]


class Fits(Filter):
    """1 if the picture's mean colour is that of the caption."""

    spec = StageSpec("fits", least=0.5)

    def scores(self, pairs: Sequence[Pair]) -> list[Score]:
        found = []
        for pair in pairs:
            red, green, _ = np.asarray(pair.image).mean((0, 1))
            fits = ("red" in pair.caption) == bool(red > green)
            found.append(Score(float(fits), "" if fits else "the other colour"))
        return found


class Short(Fits):
    """Returns one score too few."""

    spec = StageSpec("short", least=0.5)

    def scores(self, pairs: Sequence[Pair]) -> list[Score]:
        return super().scores(pairs)[1:]
