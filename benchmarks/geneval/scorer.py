"""GenEval's scorer: does an image show what its prompt asks for, by the objects that a detector found.

Pure functions over detections and predicted colours; djghosh13/geneval @ af4902f, evaluation/evaluate_images.py. Scores
and boxes are float32 there, and so they are here: a score of exactly 0.3 in float32 is not above 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.geneval.detectors import COLOURS, Detection

VERSION = 1  # raised by hand when a verdict can change; part of every stored key

# the colours of some detections of one class
Classify = Callable[[str, Sequence[Detection]], Sequence[str]]


@dataclass(frozen=True)
class Options:
    """The official defaults.

    Attributes:
        threshold, counting_threshold: detections count above it; the second for prompts tagged "counting".
        max_objects: at most so many boxes of a class, the best ones.
        max_overlap: a box overlapping a better one of its class by as much (`iou`) goes; 1 is off.
        position_threshold: of the objects' size, by which centres may differ without being beside each other.
    """

    threshold: float = 0.3
    counting_threshold: float = 0.9
    max_objects: int = 16
    max_overlap: float = 1.0
    position_threshold: float = 0.1

    def floor(self, tag: str) -> float:
        """The threshold for prompts of a tag."""
        return self.counting_threshold if tag == "counting" else self.threshold


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the scorer says of one image.

    Attributes:
        reason: why it is not correct, a line a failed clause, in the official words; "" where it is correct.
        kept: the detections that counted, best first, by class.
        colours: of the first of them, by class, where a clause asked.
    """

    tag: str
    prompt: str
    correct: bool
    reason: str
    kept: Mapping[str, Sequence[Detection]]
    colours: Mapping[str, Sequence[str]] = field(default_factory=dict)


def score(prompt: Mapping[str, Any], detections: Sequence[Detection], classify: Classify, options: Options) -> Verdict:
    """The verdict on one image.

    Args:
        prompt: as in `benchmarks.geneval.prompts`; every include clause must hold and no exclude clause may.
        classify: called for the best `count` boxes of a clause with a colour, if there are as many.
    """
    kept = keep(detections, options.floor(prompt["tag"]), options)
    colours: dict[str, Sequence[str]] = {}
    reasons: list[str] = []
    matched: list[Sequence[Detection] | None] = []
    for clause in prompt.get("include", ()):
        name, count = clause["class"], clause["count"]
        found = kept.get(name, [])[:count]
        reason = ""
        if len(found) < count:
            reason = f"expected {name}>={count}, found {len(found)}"
        elif "color" in clause:
            seen = list(classify(name, found))
            if len(seen) > len(colours.get(name, ())):
                colours[name] = seen
            reason = _wrong_colour(clause, seen)
        if not reason and "position" in clause:
            relation, target = clause["position"]
            reason = _wrong_position(name, found, relation, matched[target], options.position_threshold)
        if reason:
            reasons.append(reason)
        matched.append(None if reason else found)
    for clause in prompt.get("exclude", ()):
        number = len(kept.get(clause["class"], ()))
        if number >= clause["count"]:
            reasons.append(f"expected {clause['class']}<{clause['count']}, found {number}")
    return Verdict(prompt["tag"], prompt["prompt"], not reasons, "\n".join(reasons), kept, colours)


def above(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Those of a score above the threshold, compared in float32."""
    floor = np.float32(threshold)
    return [d for d in detections if np.float32(d.score) > floor]


def keep(detections: Sequence[Detection], threshold: float, options: Options) -> dict[str, list[Detection]]:
    """The detections above a threshold, best first, by class: at most `max_objects`, then without overlaps.

    Of equal scores the later one comes first, as when a stable ascending order is turned round.
    """
    groups: dict[str, list[Detection]] = {}
    for detection in above(detections, threshold):
        groups.setdefault(detection.name, []).append(detection)
    kept: dict[str, list[Detection]] = {}
    for name, group in groups.items():
        best = sorted(group, key=lambda d: np.float32(d.score))[::-1][: options.max_objects]
        kept[name] = best if options.max_overlap == 1 else _without_overlaps(best, options.max_overlap)
    return kept


def _without_overlaps(best: list[Detection], most: float) -> list[Detection]:
    kept: list[Detection] = []
    for detection in best:
        if all(iou(better.box, detection.box) < np.float32(most) for better in kept):
            kept.append(detection)
    return kept


def iou(a: Sequence[float], b: Sequence[float]) -> np.float32:
    """Intersection over union of two boxes. Quirk: a side is right - left + 1, though right is exclusive already."""
    p, q = np.asarray(a, np.float32), np.asarray(b, np.float32)
    common = _area(np.concatenate([np.maximum(p[:2], q[:2]), np.minimum(p[2:], q[2:])]))
    union = _area(p) + _area(q) - common
    return common / union if union else np.float32(0)


def _area(box: np.ndarray) -> np.float32:
    width, height = np.maximum(box[2:] - box[:2] + np.float32(1), np.float32(0))
    return width * height


def relations(a: Sequence[float], b: Sequence[float], threshold: float = 0.1) -> set[str]:
    """Where box `a` lies as seen from box `b`: none, one or two of "left of", "right of", "above", "below".

    The offset of the centres is shortened by `threshold` times the sizes on each axis; what is left counts on an axis
    where it is more than half of the whole offset, which leaves about 30 degrees either side of the axes.
    """
    boxes = np.array([a, b], np.float32).reshape(2, 2, 2)  # box, corner, axis
    centres = boxes.mean(axis=1)
    sizes = np.abs(boxes[:, 1] - boxes[:, 0])
    offset = centres[0] - centres[1]
    shortened = np.maximum(np.abs(offset) - threshold * (sizes[0] + sizes[1]), 0) * np.sign(offset)
    if (np.abs(shortened) < 1e-3).all():
        return set()
    dx, dy = shortened / np.linalg.norm(offset)
    holds = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {relation for relation, there in holds.items() if there}


def _wrong_colour(clause: Mapping[str, Any], seen: Sequence[str]) -> str:
    name, count, colour = clause["class"], clause["count"], clause["color"]
    if seen.count(colour) >= count:
        return ""
    others = ", ".join(f"{seen.count(c)} {c}" for c in COLOURS if c in seen)
    return f"expected {colour} {name}>={count}, found {seen.count(colour)} {colour}; and {others}"


def _wrong_position(
    name: str, found: Sequence[Detection], relation: str, targets: Sequence[Detection] | None, threshold: float
) -> str:
    """Every object must stand in the relation to every target; the first pair that does not is the reason."""
    if targets is None:
        return f"no target for {name} to be {relation}"
    for detection in found:
        for target in targets:
            true = relations(detection.box, target.box, threshold)
            if relation not in true:
                # sorted, where the official code has the order of a set; without any, its two spaces stay
                return f"expected {name} {relation} target, found {' and '.join(sorted(true))} target"
    return ""
