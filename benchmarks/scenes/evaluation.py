"""Measure how well the judge finds the objects of scenes, and choose the thresholds that do best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.geneval.detectors import Detection
from benchmarks.scenes.compose import Scene
from benchmarks.scenes.finding import colours_of, detections
from benchmarks.scenes.network import ColourNet, SceneNet

GRID = np.round(np.arange(0.10, 0.91, 0.02), 2)  # the thresholds that are tried


def evaluate(
    detector: SceneNet, colours: ColourNet, scenes: Iterable[Scene]
) -> tuple[dict[str, float], dict[str, float], Tensor]:
    """Evaluate the detector and the colour classifier on scenes.

    Returns:
        The metrics, the best thresholds, and up to eight pictures (N, 3, 256, 256) in [-1, 1] with the detections drawn
        in. The metrics are `f1` of the objects (a detection is right if it has the name of an object and their boxes
        have an IoU above 0.5) and `exact`, the share of scenes in which the right number of every object is found, each
        at its best threshold; `mask_iou`, the mean IoU of the masks of objects that were found; and `colour`, the share
        of these whose colour is right.
    """
    scores: list[float] = []
    hits: list[bool] = []
    exact: list[list[bool]] = []
    overlaps: list[float] = []
    right: list[bool] = []
    pictures: list[Tensor] = []
    total = 0
    for scene in scenes:
        image = Image.fromarray(scene.image)
        found = detections(detector, image)
        pairs = matched(found, scene)
        scores += [d.score for d in found]
        hits += [i in pairs for i in range(len(found))]
        total += len(scene.objects)
        exact.append([counts(found, t) == Counter(w.name for w in scene.objects) for t in GRID])
        taken = [found[i] for i in pairs]
        for detection, told, i in zip(taken, colours_of(colours, image, taken), pairs.values(), strict=True):
            assert detection.mask is not None
            overlaps.append(mask_iou(detection.mask, scene.mask(i)))
            right.append(told == scene.objects[i].color)
        if len(pictures) < 8:
            pictures.append(drawn(image, [d for d in found if d.score > 0.3]))
    kept = np.array(scores)[:, None] > GRID
    truly = (kept & np.array(hits, bool)[:, None]).sum(0)
    f1 = 2 * truly / (kept.sum(0) + total)
    share = np.array(exact).mean(0)
    values = {
        "f1": float(f1.max()),
        "exact": float(share.max()),
        "mask_iou": float(np.mean(overlaps or [0])),
        "colour": float(np.mean(right or [False])),
    }
    return values, {"threshold": best(f1), "counting_threshold": best(share)}, torch.stack(pictures)


def best(values: np.ndarray) -> float:
    """Return the threshold with the highest value; of several the one in the middle."""
    ties = np.flatnonzero(values == values.max())
    return float(GRID[ties[len(ties) // 2]])


def counts(found: list[Detection], threshold: float) -> Counter[str]:
    """Count the detections above a threshold by name."""
    return Counter(d.name for d in found if d.score > threshold)


def matched(found: list[Detection], scene: Scene) -> dict[int, int]:
    """Assign detections, the best first, to objects, each at most once: {index of a detection: index of its object}."""
    pairs: dict[int, int] = {}
    for i, detection in enumerate(found):
        for j, wanted in enumerate(scene.objects):
            if j not in pairs.values() and wanted.name == detection.name and iou(detection.box, scene.box(j)) > 0.5:
                pairs[i] = j
                break
    return pairs


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the intersection over union of two boxes (left, top, right, bottom), right and bottom exclusive."""
    from torchvision.ops import box_iou

    return float(box_iou(torch.tensor([a]), torch.tensor([b]).float()))


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks (H, W) bool, one of which is not empty."""
    return float((a & b).sum() / (a | b).sum())


def drawn(image: Image.Image, found: list[Detection]) -> Tensor:
    """Return an RGB image with the boxes, names and scores of detections drawn in, (3, H, W) in [-1, 1]."""
    from torchvision.utils import draw_bounding_boxes

    picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if found:
        boxes = torch.tensor([d.box for d in found])
        picture = draw_bounding_boxes(picture, boxes, [f"{d.name} {d.score:.2f}" for d in found], colors="red")
    return picture.float() / 127.5 - 1
