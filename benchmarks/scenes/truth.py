"""What is true of a scene: which captions hold, and true captions about it, from what the composer knows of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.geneval import scorer
from benchmarks.geneval.detectors import Detection
from benchmarks.scenes import reading
from benchmarks.scenes.compose import Scene
from benchmarks.scenes.tasks import Metadata

LARGEST = 3  # kinds of objects that a caption names, the largest ones; with colours these are at most 20 words


def record(scene: Scene) -> dict[str, Any]:
    """Return what a scene shows, as JSON holds it: "objects", each with its "class", "color" and "box" in pixels."""
    objects = [{"class": w.name, "color": w.color, "box": list(scene.box(i))} for i, w in enumerate(scene.objects)]
    return {"objects": objects}


def holds(caption: Metadata, truth: Mapping[str, Any]) -> bool:
    """Return whether a caption is true of a scene: GenEval's verdict of the objects as a perfect detector has them."""
    found = [Detection(o["class"], 1.0, tuple(o["box"])) for o in truth["objects"]]
    colour_of = {id(d): o["color"] for d, o in zip(found, truth["objects"], strict=True)}

    def classify(name: str, detections: Sequence[Detection]) -> list[str]:
        return [colour_of[id(d)] for d in detections]

    return scorer.score(caption, found, classify, scorer.Options()).correct


def true_captions(truth: Mapping[str, Any]) -> Iterator[str]:
    """Yield captions that are true of a scene, of GenEval's six tasks; the largest objects come first.

    A phrase for one object is written where there is one object of its kind alone.
    """
    groups = groups_of(truth)
    single = {name: objects[0] for name, objects in groups.items() if len(objects) == 1}
    for name, one in single.items():
        yield reading.write([reading.write_phrase(name)])
        yield reading.write([reading.write_phrase(name, 1, one["color"])])
    for name, objects in groups.items():
        if 1 < len(objects) <= reading.MOST:
            yield reading.write([reading.write_phrase(name, len(objects))])
    for first, second in itertools.permutations(single, 2):
        yield reading.write([reading.write_phrase(first), reading.write_phrase(second)])
        colours = single[first]["color"], single[second]["color"]
        if len(set(colours)) == 2:
            phrases = [reading.write_phrase(n, 1, c) for n, c in zip((first, second), colours, strict=True)]
            yield reading.write(phrases)
        for relation in _relations(single[first], single[second]):
            yield reading.write([reading.write_phrase(first), reading.write_phrase(second)], relation)


def full_caption(truth: Mapping[str, Any]) -> str:
    """Return a caption of the largest objects, their number and colours, and where there are two, their relation.

    It is "" where there are more objects of each class than a caption can count.
    """
    groups = dict(itertools.islice(groups_of(truth).items(), LARGEST))
    phrases = []
    for name, objects in groups.items():
        colours = {o["color"] for o in objects}
        count = len(objects)
        phrases.append(reading.write_phrase(name, count, colours.pop() if len(colours) == 1 else ""))
    if [len(objects) for objects in groups.values()] == [1, 1]:
        (first,), (second,) = groups.values()
        for relation in _relations(first, second):
            return reading.write(phrases, relation)
    return reading.write(phrases) if phrases else ""


def groups_of(truth: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return a scene's objects by their class, the class whose objects cover the most pixels first.

    Classes with more objects than a caption can count are left out.
    """
    area: Counter[str] = Counter()
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in truth["objects"]:
        left, top, right, bottom = one["box"]
        area[one["class"]] += (right - left) * (bottom - top)
        found.setdefault(one["class"], []).append(one)
    names = sorted(found, key=lambda name: (-area[name], name))
    return {name: found[name] for name in names if len(found[name]) <= reading.MOST}


def _relations(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return where one object stands as seen from another by GenEval's rule, if there is one relation alone."""
    found = sorted(scorer.relations(first["box"], second["box"]))
    return found if len(found) == 1 else []
