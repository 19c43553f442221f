"""Composed scenes as stages of data construction: prompts without end, a composer, a captioner and a judge.

`scenes-prompts` never draws a caption that `python -m benchmarks.geneval --scenes` evaluates on by default, and
`scenes-truth` never writes one, so that what is trained on the pairs has not seen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes import reading, truth
from benchmarks.scenes.compose import SIZE, compose
from benchmarks.scenes.folder import BROKEN
from benchmarks.scenes.tasks import metadata, plan_scene
from lactok.data import (
    Captioner,
    Filter,
    Made,
    Pair,
    PictureSource,
    PromptSource,
    Score,
    StageSpec,
    register_stage,
)
from lactok.errors import WrongValue
from lactok.outside_text import shown
from lactok.randomness import seed_of
from lactok.specs import Option

TRAINING, HELD_OUT = "training", "held-out"
ASKED, FULL = "asked", "full"
RICH, PLAIN = "rich", "plain"
ANY, ONE = "any", "one"
OF_ONE_OBJECT = ("single_object", "colors")  # GenEval's tasks
EXAMPLE = "a photo of a red cup left of a kite"


@register_stage(
    StageSpec(
        "scenes-prompts",
        options={
            "split": Option(TRAINING, "captions to train on, or those of the evaluation", choices=(TRAINING, HELD_OUT)),
            "objects": Option(
                ANY, "one: captions of a single object alone, with its colour or not", choices=(ANY, ONE)
            ),
        },
    )
)
class ScenePrompts(PromptSource):
    """Captions of GenEval's six tasks in turn, or of those of one object, about the objects that scenes show."""

    def prompts(self, numbers: Sequence[int], seed: int) -> list[str]:
        return [self._prompt(number, seed) for number in numbers]

    def _prompt(self, number: int, seed: int) -> str:
        """Return the caption of a number; one that belongs to the other split is drawn again."""
        split = str(self.spec.values["split"])
        rng = np.random.default_rng(seed_of(seed, "scenes-prompts", split, number))
        tasks = OF_ONE_OBJECT if self.spec.values["objects"] == ONE else TASKS
        task = tasks[number % len(tasks)]
        if split == HELD_OUT:
            of_task = [text for text in reading.evaluated().values() if (reading.read(text) or {})["tag"] == task]
            return of_task[int(rng.integers(len(of_task)))]
        while True:
            caption = str(metadata(task, rng)["prompt"])
            if not reading.is_evaluated(caption):
                return caption


@register_stage(
    StageSpec(
        "scenes-composer",
        options={
            "broken": Option(BROKEN, "share of scenes that break their caption", 0.0, 1.0),
            "look": Option(
                RICH,
                "plain: what the caption names, large and upright, before grey paper",
                choices=(RICH, PLAIN),
            ),
        },
        side=SIZE,
        version=4,
    )
)
class SceneComposer(PictureSource):
    """Composes the scene of a caption; some scenes break it, as generators do. The facts say what is really shown."""

    def check(self, prompts: Sequence[str]) -> None:
        for number, prompt in enumerate(prompts, 1):
            if reading.read(prompt) is None:
                raise WrongValue(f"prompt {number}, {shown(prompt)!r}: scenes are composed of captions as {EXAMPLE!r}")

    def make(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Made]:
        return [self._made(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _made(self, prompt: str, seed: int) -> Made:
        """Compose the scene of a prompt, whose seed is not one of those that `folder.make` uses."""
        caption = reading.read(prompt)
        if caption is None:
            raise WrongValue(f"{shown(prompt)!r}: scenes are composed of captions as {EXAMPLE!r}")
        rng = np.random.default_rng(seed_of(seed, "scenes-composer"))
        is_plain = self.spec.values["look"] == PLAIN
        plan, _ = plan_scene(caption, bool(rng.random() < float(self.spec.values["broken"])), rng, alone=is_plain)
        scene = compose(plan, seed_of(seed, "scenes-composer", "picture"), is_plain)
        return Made(Image.fromarray(scene.image), truth.record(scene))


@register_stage(
    StageSpec(
        "scenes-truth",
        options={
            "style": Option(
                ASKED, "asked: as the prompt, made true; full: objects, colours, relation", choices=(ASKED, FULL)
            )
        },
    )
)
class SceneCaptioner(Captioner):
    """Writes true captions, from what the composer says of its scene."""

    def captions(self, pairs: Sequence[Pair]) -> list[str]:
        return [self._caption(pair) for pair in pairs]

    def _caption(self, pair: Pair) -> str:
        """Return a true caption of a scene; "" if there is none that may be trained on."""
        if "objects" not in pair.facts:
            raise WrongValue(f"{self.spec.name} reads the truth of scenes-composer, and {pair.key} is another picture")
        found = truth.full_caption(pair.facts)
        if self.spec.values["style"] == FULL and not reading.is_evaluated(found):
            return found
        asked = reading.read(pair.prompt)
        if asked is not None and truth.holds(asked, pair.facts) and not reading.is_evaluated(pair.prompt):
            return pair.prompt
        captions = [text for text in truth.true_captions(pair.facts) if not reading.is_evaluated(text)]
        if not captions:
            return "" if reading.is_evaluated(found) else found
        return min(captions, key=lambda text: _distance(asked, text))


def _distance(asked: dict[str, Any] | None, caption: str) -> tuple[bool, int]:
    """Return how far a caption is from what was asked for: another task is far, other objects are less so."""
    said = reading.read(caption)
    assert said is not None
    if asked is None:
        return (False, 0)
    classes = {clause["class"] for clause in asked["include"]}
    return (said["tag"] != asked["tag"], len(classes ^ {clause["class"] for clause in said["include"]}))


@register_stage(StageSpec("scenes-tiny", "MIT", least=0.5, side=SIZE))
class SceneJudge(Filter):
    """GenEval's verdict of a pair by the judge `scenes-tiny`: 1 if the picture shows what the caption says, else 0."""

    def state(self) -> str:
        from benchmarks.scenes.detector import ASSET
        from lactok import weights

        return weights.state([ASSET])

    def settings(self) -> dict[str, Any]:
        from benchmarks.geneval import scorer
        from benchmarks.scenes.detector import ASSET
        from lactok import weights

        found = super().settings()
        return found | {"assets": {ASSET.name: weights.resolve(ASSET).sha256}, "scorer": scorer.VERSION}

    def load(self, device: str, dtype: str) -> None:
        from benchmarks.geneval import detectors

        self.detector = detectors.find("detector", "scenes-tiny")(device)
        self.colours = detectors.find("colour", "scenes-tiny")(device)

    def scores(self, pairs: Sequence[Pair]) -> list[Score]:
        return [self._score(pair) for pair in pairs]

    def _score(self, pair: Pair) -> Score:
        from benchmarks.scenes.agreement import geneval_score, look

        asked = reading.read(pair.caption)
        if asked is None:
            return Score(0.0, f"no caption about a scene, as {EXAMPLE!r} is")
        found, colours = look(pair.image, self.detector, self.colours)
        correct, reason = geneval_score(self.detector.spec)(asked, found, colours)
        return Score(float(correct), reason.replace("\n", "; "))
