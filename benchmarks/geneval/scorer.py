"""GenEval's scorer: it decides from the detected objects whether an image shows what its prompt asks for.

These are pure functions of detections and predicted colours, after djghosh13/geneval @ af4902f,
evaluation/evaluate_images.py. Scores and boxes are float32 there, and so they are here: a score of exactly 0.3 in
float32 is not above 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.geneval.detectors import COLOURS, Detection

VERSION = 1  # raised by hand when a verdict can change; part of the key of every stored verdict

# takes the name of a class and detections of it, returns their colours
Classify = Callable[[str, Sequence[Detection]], Sequence[str]]


@dataclass(frozen=True)
class Options:
    """The scorer's options, with the official defaults.

    Attributes:
        threshold: a detection counts if its score is above it.
        counting_threshold: the same for prompts tagged "counting".
        max_objects: how many boxes of one class count at most; the best ones do.
        max_overlap: a box is dropped if its `iou` with a better one of its class is at least this; 1 turns it off.
        position_threshold: how far apart two centres must be to be left of, above, ... each other, as a share of the
            objects' sizes.
    """

    threshold: float = 0.3
    counting_threshold: float = 0.9
    max_objects: int = 16
    max_overlap: float = 1.0
    position_threshold: float = 0.1

    def threshold_for(self, tag: str) -> float:
        """Return the threshold for prompts of this tag."""
        return self.counting_threshold if tag == "counting" else self.threshold


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the scorer decided about one image.

    Attributes:
        tag: the prompt's task.
        prompt: the prompt's text.
        correct: whether the image shows what the prompt asks for.
        reason: why the image is wrong, one line per failed clause in the official words; "" if it is correct.
        kept: the detections that counted by class, best first.
        colours: by class, the colours of the first of its detections, where a clause asked for them.
    """

    tag: str
    prompt: str
    correct: bool
    reason: str
    kept: Mapping[str, Sequence[Detection]]
    colours: Mapping[str, Sequence[str]] = field(default_factory=dict)


def score(prompt: Mapping[str, Any], detections: Sequence[Detection], classify: Classify, options: Options) -> Verdict:
    """Decide whether an image shows what its prompt asks for.

    Args:
        prompt: as in `benchmarks.geneval.prompts`; every include clause must hold and no exclude clause may.
        detections: all objects that the detector found in the image.
        classify: it is called for the best `count` boxes of a clause with a colour, if there are that many.
    """
    kept = keep(detections, options.threshold_for(prompt["tag"]), options)
    colours: dict[str, Sequence[str]] = {}
    reasons: list[str] = []
    matched: list[Sequence[Detection] | None] = []  # per include clause the objects that fulfil it, None if it fails
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
            matched.append(None)
        else:
            matched.append(found)
    for clause in prompt.get("exclude", ()):
        name, count = clause["class"], clause["count"]
        number = len(kept.get(name, ()))
        if number >= count:
            reasons.append(f"expected {name}<{count}, found {number}")
    return Verdict(prompt["tag"], prompt["prompt"], not reasons, "\n".join(reasons), kept, colours)


def above_threshold(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Return the detections whose score is above a threshold, compared in float32."""
    threshold32 = np.float32(threshold)
    return [d for d in detections if np.float32(d.score) > threshold32]


def keep(detections: Sequence[Detection], threshold: float, options: Options) -> dict[str, list[Detection]]:
    """Return the detections that count, by class, best first.

    These are, of each class, the best `max_objects` above the threshold, without those that overlap a better one. Of
    equal scores the later one comes first, as in the official code, which reverses a stable ascending order.
    """
    groups: dict[str, list[Detection]] = {}
    for detection in above_threshold(detections, threshold):
        groups.setdefault(detection.name, []).append(detection)
    kept: dict[str, list[Detection]] = {}
    for name, group in groups.items():
        best = sorted(group, key=lambda d: np.float32(d.score))[::-1][: options.max_objects]
        if options.max_overlap != 1:
            best = _without_overlaps(best, options.max_overlap)
        kept[name] = best
    return kept


def _without_overlaps(best: list[Detection], max_overlap: float) -> list[Detection]:
    """Drop every detection whose `iou` with a better one that was kept is at least `max_overlap`."""
    kept: list[Detection] = []
    for detection in best:
        if all(iou(better.box, detection.box) < np.float32(max_overlap) for better in kept):
            kept.append(detection)
    return kept


def iou(a: Sequence[float], b: Sequence[float]) -> np.float32:
    """Return the intersection over union of two boxes (left, top, right, bottom).

    Quirk: a width is right - left + 1, though right is exclusive already; heights likewise.
    """
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    upper_left, lower_right = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    intersection = _area(np.concatenate([upper_left, lower_right]))
    union = _area(first) + _area(second) - intersection
    return intersection / union if union else np.float32(0)


def _area(box: np.ndarray) -> np.float32:
    """Return the area of a box (4,) with the sides of `iou`; 0 for a box that is turned inside out."""
    width, height = np.maximum(box[2:] - box[:2] + np.float32(1), np.float32(0))
    return width * height


def relations(a: Sequence[float], b: Sequence[float], threshold: float = 0.1) -> set[str]:
    """Return where box `a` lies as seen from box `b`: none, one or two of "left of", "right of", "above", "below".

    The offset between the centres is shortened on each axis by `threshold` times the sum of the boxes' sizes. A
    relation holds if what remains on its axis is more than half of the whole offset.
    """
    boxes = np.array([a, b], np.float32).reshape(2, 2, 2)  # box, corner, axis
    centres = boxes.mean(axis=1)
    sizes = np.abs(boxes[:, 1] - boxes[:, 0])
    offset = centres[0] - centres[1]
    shortened = np.maximum(np.abs(offset) - threshold * (sizes[0] + sizes[1]), 0) * np.sign(offset)
    if (np.abs(shortened) < 1e-3).all():
        return set()
    dx, dy = shortened / np.linalg.norm(offset)
    found = set()
    if dx < -0.5:
        found.add("left of")
    if dx > 0.5:
        found.add("right of")
    if dy < -0.5:
        found.add("above")
    if dy > 0.5:
        found.add("below")
    return found


def _wrong_colour(clause: Mapping[str, Any], seen: Sequence[str]) -> str:
    """Return in the official words why the colours of a clause's objects are wrong, or "" if enough are right."""
    name, count, colour = clause["class"], clause["count"], clause["color"]
    if seen.count(colour) >= count:
        return ""
    others = ", ".join(f"{seen.count(c)} {c}" for c in COLOURS if c in seen)
    return f"expected {colour} {name}>={count}, found {seen.count(colour)} {colour}; and {others}"


def _wrong_position(
    name: str, found: Sequence[Detection], relation: str, targets: Sequence[Detection] | None, threshold: float
) -> str:
    """Return in the official words why a position is wrong, or "" if every object is in the relation to every target.

    Args:
        name: class of the objects.
        found: the objects.
        targets: the objects of the clause that the position relates to; None if that clause failed.
    """
    if targets is None:
        return f"no target for {name} to be {relation}"
    for detection in found:
        for target in targets:
            actual = relations(detection.box, target.box, threshold)
            if relation not in actual:
                # sorted, since the official code's order, of a set, is arbitrary; if there is none, the words keep the
                # two spaces in a row that they have there
                return f"expected {name} {relation} target, found {' and '.join(sorted(actual))} target"
    return ""
