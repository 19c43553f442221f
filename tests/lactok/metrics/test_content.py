"""Whether both images show the same: classes, CLIP embeddings and boxes, on networks and pictures of known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.geneval import boxes
from benchmarks.geneval.detectors import Detection
from benchmarks.scenes.compose import Plan, Wanted, compose
from lactok.metrics import content
from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.registry import METRICS, find, known


def drawn(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 64), generator=generator, dtype=torch.uint8)


def test_labels_are_those_of_inceptions_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).normal(size=(1008, 2048)).astype(np.float32)
    monkeypatch.setattr(content, "classifier", lambda: matrix)
    images = torch.cat([drawn(2), torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)])
    expected = (INCEPTION_TF1.compute(images, "cpu") @ matrix.T).argmax(1)
    assert content.labels(images).tolist() == expected.tolist()
    others = images.roll(1, 0)
    same = [float(a == b) for a, b in zip(expected, np.roll(expected, 1), strict=True)]
    assert min(same) == 0
    assert content.label_agreement(images, others).tolist() == same
    assert content.label_agreement(images, others, known=expected).tolist() == same
    assert content.label_agreement(images, images).tolist() == [1, 1, 1]


def test_clip_similarity_is_the_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean_colour(images: Tensor, device: str) -> np.ndarray:
        means = images.float().mean((2, 3))
        return (means / means.norm(dim=1, keepdim=True)).numpy()

    monkeypatch.setattr(content, "clip_features", mean_colour)
    red = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 255
    purple = red.clone()
    purple[:, 2] = 255
    assert content.clip_similarity(red, purple).tolist() == pytest.approx([math.sqrt(0.5)])
    assert content.clip_similarity(red, red, known=mean_colour(purple, "cpu")).tolist() == pytest.approx(
        [math.sqrt(0.5)]
    )


CUP, KITE = Detection("cup", 0.9, (10, 10, 50, 50)), Detection("kite", 0.8, (60, 60, 90, 90))


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ([CUP, KITE], [KITE, CUP], 1.0),
        ([CUP, KITE], [CUP], 2 / 3),
        ([CUP], [CUP, KITE], 2 / 3),
        ([CUP], [Detection("kite", 0.9, CUP.box)], 0.0),  # another class
        ([CUP], [Detection("cup", 0.9, (35, 10, 75, 50))], 0.0),  # too far
        ([CUP], [Detection("cup", 0.9, (15, 10, 55, 50))], 1.0),
        ([CUP], [CUP, Detection("cup", 0.5, CUP.box)], 2 / 3),  # a partner is taken once
        ([CUP], [], 0.0),
    ],
)
def test_boxes_agree_where_class_and_place_do(first: list[Detection], second: list[Detection], value: float) -> None:
    assert boxes.agreement(first, second) == pytest.approx(value)


def test_nothing_found_in_the_photograph_is_no_value() -> None:
    assert math.isnan(boxes.agreement([], [CUP]))
    assert find("box_agreement").partial


def test_scenes_keep_their_boxes() -> None:
    plan = Plan((Wanted("cup", "red"), Wanted("kite", "blue")))
    pictures = [compose(plan, seed, plain=True).image for seed in (1, 2)]
    scenes = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    grey = torch.full_like(scenes, 127)
    assert boxes.box_agreement_scenes(scenes, scenes).tolist() == [1, 1]
    found = boxes.found_by(boxes.SCENES, scenes)
    assert [sorted(d.name for d in of) for of in found] == [["cup", "kite"]] * 2
    assert boxes.box_agreement_scenes(scenes, grey, known=found).tolist() == [0, 0]
    assert boxes.box_agreement_scenes(grey, scenes).isnan().all()


def test_they_are_found_by_name_and_not_measured_by_all() -> None:
    keys = {"label_agreement", "clip_similarity", "box_agreement", "box_agreement_scenes"}
    assert all(find(key).key == key for key in keys)
    assert not keys & {metric.key for metric in known()}
    assert {"box_agreement", "box_agreement_scenes"} <= METRICS.points().keys()
