"""GenEval's prompts, scorer and summary by themselves, and the scorer on real photographs."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared
from PIL import Image, ImageDraw

from benchmarks.geneval import prompts, scorer, stored, summary
from benchmarks.geneval.detectors import Detection
from benchmarks.geneval.prompts import OBJECTS
from lactok.evaluation.statistics import clustered_mean

CAT = {"tag": "own", "prompt": "a red cat", "include": [{"class": "cat", "count": 1, "color": "red"}]}


def never(name: str, detections: Sequence[Detection]) -> list[str]:
    raise AssertionError("no clause needs a colour")


def test_the_prompts_are_the_official_ones() -> None:
    assert hashlib.sha256(prompts.metadata_file()).hexdigest() == prompts.SHA256
    assert Counter(p["tag"] for p in prompts.official()) == {
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }
    assert list(dict.fromkeys(p["tag"] for p in prompts.official())) == list(prompts.TASKS)
    assert not any(map(prompts.fault, prompts.official()))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "not a JSON object"),
        ({"prompt": "x"}, "'tag' is not a text"),
        ({"tag": "x", "prompt": 1}, "'prompt' is not a text"),
        ({"tag": "x", "prompt": "x", "include": {}}, "'include' is not a list"),
        ({"tag": "x", "prompt": "x", "include": ["cat"]}, "'class' is not a text"),
        ({"tag": "x", "prompt": "x", "exclude": [{"class": "cat", "count": 0}]}, "exclude clause 1: 'count'"),
        ({"tag": "x", "prompt": "x", "include": [{"class": "cat", "count": True}]}, "'count'"),
        ({"tag": "x", "prompt": "x", "include": [{"class": "cat", "count": 1, "color": 3}]}, "'color'"),
        ({"tag": "x", "prompt": "x", "include": [{"class": "a", "count": 1, "position": ["near", 0]}]}, "left of"),
        ({"tag": "x", "prompt": "x", "include": [{"class": "a", "count": 1, "position": ["above", 0]}]}, "before it"),
    ],
)
def test_faults_of_prompts_are_named(prompt: object, message: str) -> None:
    assert message in prompts.fault(prompt)


@pytest.mark.parametrize(("score", "counts"), [(0.3, False), (float(np.nextafter(np.float32(0.3), 1)), True)])
def test_thresholds_are_compared_in_float32(score: float, counts: bool) -> None:
    """0.3 in float32 is above 0.3 in float64, and yet not above the threshold."""
    prompt = {"tag": "own", "prompt": "a cat", "include": [{"class": "cat", "count": 1}]}
    detection = Detection("cat", float(np.float32(score)), (0, 0, 9, 9))
    assert scorer.score(prompt, [detection], never, scorer.Options()).correct is counts


def test_colours_are_asked_for_only_when_there_are_enough_objects() -> None:
    verdict = scorer.score(CAT, [Detection("dog", 0.9, (0, 0, 9, 9))], never, scorer.Options())
    assert verdict.reason == "expected cat>=1, found 0"
    asked = []

    def classify(name: str, detections: Sequence[Detection]) -> list[str]:
        asked.append((name, [d.score for d in detections]))
        return ["blue"]

    cats = [Detection("cat", s, (0, 0, 9, 9)) for s in (0.5, 0.8)]
    verdict = scorer.score(CAT, cats, classify, scorer.Options())
    assert asked == [("cat", [0.8])]
    assert verdict.reason == "expected red cat>=1, found 0 red; and 1 blue"
    assert verdict.colours == {"cat": ["blue"]}


def test_of_equal_scores_the_later_comes_first() -> None:
    pair = [Detection("cat", 0.5, (0, 0, 9, 9)), Detection("cat", 0.5, (9, 9, 20, 20))]
    assert scorer.keep(pair, 0.3, scorer.Options())["cat"] == pair[::-1]


def test_detections_survive_the_store() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((17, 13)) < 0.5
    found = [[Detection("cat", 0.1, (1.25, 2.0, 3.0, 4.0), mask)], [], [Detection("dög 🦄", 0.5, (0, 0, 1, 1))]]
    again = stored.unpack(stored.pack(found), 3)
    assert [[(d.name, d.box) for d in one] for one in again] == [[(d.name, d.box) for d in one] for one in found]
    assert again[0][0].score == float(np.float32(0.1))
    assert np.array_equal(again[0][0].mask, mask)
    assert again[2][0].mask is None
    assert stored.unpack(stored.pack([[], []]), 2) == [[], []]


def test_intervals_resample_prompts() -> None:
    """Four equal samples a prompt: as wide as that of 50 values, not of 200."""
    correct = np.random.default_rng(0).random(50) < 0.4
    scored = [summary.Scored("t", str(i), bool(c)) for i, c in enumerate(correct) for _ in range(4)]
    tasks, found = summary.scores(scored)
    low, high = tasks["t"]["ci95"]
    expected = 1.96 * math.sqrt(correct.mean() * (1 - correct.mean()) / 50)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)
    assert tasks["t"] == found["overall"] | {"prompts": 50}


def test_overall_is_the_mean_of_tasks_and_samples_that_are_there_count() -> None:
    scored = [summary.Scored("a", "1", c) for c in (True, True, False)]
    scored += [summary.Scored("a", "2", True)] + [summary.Scored("b", "3", False)] * 10
    tasks, found = summary.scores(scored)
    assert tasks["a"]["value"] == 0.75
    assert found["overall"]["value"] == 0.375
    assert found["per_image"]["value"] == 3 / 14
    assert found["prompts"]["value"] == 2 / 3
    assert found["overall"]["ci95"] is None  # task b has one prompt
    assert summary.scores([])[1]["overall"] == {"value": None, "ci95": None, "n": 0}
    assert clustered_mean([(np.array([1, 0]), np.array([1, 1]))])[1] == [0.0, 1.0]


# real photographs: COCO's own boxes and polygons as detections

MISSING_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # numbers that COCO's category list leaves out
NAME_OF_ID = dict(zip([i for i in range(1, 91) if i not in MISSING_IDS], OBJECTS, strict=True))


def from_boxes(path: Path, width: int, height: int) -> list[Detection]:
    """Lines of class, centre and size, relative to the image."""
    found = []
    for line in path.read_text().splitlines():
        number, *values = line.split()
        x, y, w, h = (float(v) for v in values)
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        found.append(Detection(OBJECTS[int(number)], 0.95, box))
    return found


def from_polygons(path: Path, width: int, height: int) -> list[Detection]:
    """Lines of category and corners, relative to the image; boxes are tight around what they fill."""
    found = []
    for line in path.read_text().splitlines():
        number, *values = line.split()
        corners = [(float(x) * width, float(y) * height) for x, y in zip(values[::2], values[1::2], strict=True)]
        drawn = Image.new("1", (width, height))
        ImageDraw.Draw(drawn).polygon(corners, fill=1, outline=1)
        left, top, right, bottom = drawn.getbbox() or (0, 0, 0, 0)
        found.append(Detection(NAME_OF_ID[int(number)], 0.95, (left, top, right, bottom), np.asarray(drawn)))
    return found


def lies(a: Sequence[float], b: Sequence[float], relation: str) -> bool:
    """Ground truth, one axis at a time: is the gap that size leaves between centres over half their distance."""
    (low, high), sign = {"left of": ((0, 2), -1), "right of": ((0, 2), 1), "above": ((1, 3), -1), "below": ((1, 3), 1)}[
        relation
    ]
    apart = [(a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2]
    gap = sign * apart[low] - 0.1 * (a[high] - a[low] + b[high] - b[low])
    return gap > 0.001 and gap > math.hypot(*apart) / 2


def questions(found: list[Detection]) -> list[tuple[dict[str, Any], bool]]:
    """Prompts about an image with these objects, and whether they hold: presence, absence, counts, positions."""
    number = Counter(d.name for d in found)
    asked: list[tuple[list, list, bool]] = []
    for name in OBJECTS:
        asked.append(([{"class": name, "count": 1}], [], number[name] > 0))
        for count in range(1, 18 if number[name] else 1):
            truth = min(number[name], 16)  # no more boxes of a class are looked at
            include, exclude = [{"class": name, "count": count}], [{"class": name, "count": count + 1}]
            asked.append((include, exclude, truth == count))
    alone = {d.name: d.box for d in found if number[d.name] == 1}
    for a in alone:
        for b in alone.keys() - {a}:
            for relation in prompts.RELATIONS:
                include = [{"class": b, "count": 1}, {"class": a, "count": 1, "position": [relation, 0]}]
                asked.append((include, [], lies(alone[a], alone[b], relation)))
    return [({"tag": "own", "prompt": "", "include": i, "exclude": e}, truth) for i, e, truth in asked]


@pytest.mark.parametrize(("folder", "reader"), [("boxes", from_boxes), ("polygons", from_polygons)])
def test_verdicts_on_real_photographs_are_the_ground_truth(folder: str, reader: Any) -> None:
    root = shared("data", "coco-val2017-64")
    kinds: Counter[tuple[str, bool]] = Counter()
    for path in sorted((root / "images").iterdir()):
        labels = root / folder / f"{path.stem}.txt"
        if not labels.is_file():
            continue
        with Image.open(path) as image:
            found = reader(labels, *image.size)
        for prompt, truth in questions(found):
            verdict = scorer.score(prompt, found, never, scorer.Options())
            assert verdict.correct is truth, (path.name, prompt, verdict.reason)
            kinds["position" if len(prompt["include"]) == 2 else "count" if prompt["exclude"] else "object", truth] += 1
    assert min(kinds.values()) >= 100
    assert len(kinds) == 6
