"""Time GenEval's scorer alone: `pytest benchmarks/speed/perf/geneval_scorer.py --benchmark-only`.

A round scores 553 images, one for each official prompt, with 100 detections each, as many as Mask2Former gives. A mean
time of 332 ms a round is 100,000 images a minute in one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.geneval import prompts, scorer
from benchmarks.geneval.detectors import COLOURS, Detection


def classify(name: str, detections: Sequence[Detection]) -> list[str]:
    """Return an arbitrary colour for each detection, by its place."""
    return [COLOURS[int(d.box[0]) % len(COLOURS)] for d in detections]


def images(number: int = 553, each: int = 100) -> list[tuple[prompts.Prompt, list[Detection]]]:
    """Return official prompts with `each` detections: the objects asked for and others, most of them of low score."""
    rng = np.random.default_rng(0)
    asked = []
    for prompt in prompts.official()[:number]:
        wanted = [c["class"] for c in prompt["include"] for _ in range(c["count"])]
        others = rng.choice(len(prompts.OBJECTS), each - len(wanted))
        names = wanted + [prompts.OBJECTS[i] for i in others]
        scores = np.concatenate([np.full(len(wanted), 0.95), rng.random(len(others)) ** 4]).astype(np.float32)
        corners = rng.random((each, 2)) * 300
        boxes = np.concatenate([corners, corners + 20 + rng.random((each, 2)) * 180], 1).astype(np.float32)
        found = zip(names, scores.tolist(), boxes.tolist(), strict=True)
        asked.append((prompt, [Detection(n, s, tuple(b)) for n, s, b in found]))
    return asked


@pytest.mark.benchmark(group="GenEval's scorer, 553 images")
@pytest.mark.parametrize("overlap", [1.0, 0.5], ids=["official options", "with NMS"])
def test_scorer(benchmark: Any, overlap: float) -> None:
    asked, options = images(), scorer.Options(max_overlap=overlap)
    verdicts = benchmark(lambda: [scorer.score(prompt, found, classify, options) for prompt, found in asked])
    assert {v.correct for v in verdicts} == {True, False}
