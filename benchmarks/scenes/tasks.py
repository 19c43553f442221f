"""Captions of GenEval's six tasks about the scenes' objects, and plans of scenes that fulfil or break them.

Wording and metadata are those of GenEval (djghosh13/geneval, prompts/create_prompts.py). The vocabulary is another one,
and each caption is drawn for itself, by its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.geneval.detectors import COLOURS
from benchmarks.geneval.prompts import NUMBERS, plural, with_article
from benchmarks.scenes.compose import AXES, Plan, Wanted
from benchmarks.scenes.objects import VOCABULARY

Rng = np.random.Generator
Metadata = dict[str, Any]

OPPOSITE = {"right of": "left of", "left of": "right of", "above": "below", "below": "above"}


def single_object(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of a cup"; as all tasks, without its tag."""
    (name,) = choose(VOCABULARY, 1, rng)
    return {"include": [{"class": name, "count": 1}], "prompt": f"a photo of {with_article(name)}"}


def two_object(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of a cup and a kite"."""
    names = choose(VOCABULARY, 2, rng)
    prompt = f"a photo of {with_article(names[0])} and {with_article(names[1])}"
    return {"include": [{"class": name, "count": 1} for name in names], "prompt": prompt}


def counting(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of three cups"; it excludes one more of them."""
    (name,) = choose(VOCABULARY, 1, rng)
    number = int(rng.integers(2, 4, endpoint=True))
    return {
        "include": [{"class": name, "count": number}],
        "exclude": [{"class": name, "count": number + 1}],
        "prompt": f"a photo of {NUMBERS[number]} {plural(name)}",
    }


def colors(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of a red cup"."""
    (name,) = choose(VOCABULARY, 1, rng)
    (color,) = choose(COLOURS, 1, rng)
    prompt = f"a photo of {with_article(f'{color} {name}')}"
    return {"include": [{"class": name, "count": 1, "color": color}], "prompt": prompt}


def position(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of a cup left of a kite"."""
    first, second = choose(VOCABULARY, 2, rng)
    (relation,) = choose(tuple(AXES), 1, rng)
    return {
        "include": [{"class": second, "count": 1}, {"class": first, "count": 1, "position": [relation, 0]}],
        "prompt": f"a photo of {with_article(first)} {relation} {with_article(second)}",
    }


def color_attr(rng: Rng) -> Metadata:
    """Draw a caption such as "a photo of a red cup and a blue kite"."""
    names = choose(VOCABULARY, 2, rng)
    object_colours = choose(COLOURS, 2, rng)
    phrases, include = [], []
    for name, color in zip(names, object_colours, strict=True):
        phrases.append(with_article(f"{color} {name}"))
        include.append({"class": name, "count": 1, "color": color})
    return {"include": include, "prompt": f"a photo of {phrases[0]} and {phrases[1]}"}


_CAPTION_OF_TASK: dict[str, Callable[[Rng], Metadata]] = {
    "single_object": single_object,
    "two_object": two_object,
    "counting": counting,
    "colors": colors,
    "position": position,
    "color_attr": color_attr,
}


def metadata(task: str, rng: Rng) -> Metadata:
    """Draw a caption of a task in GenEval's format: `tag`, `include`, `exclude` (counting alone) and `prompt`."""
    return {"tag": task} | _CAPTION_OF_TASK[task](rng)


@dataclass(frozen=True)
class Violation:
    """How a scene breaks its caption.

    Attributes:
        kind: "missing" (an object is not there), "count", "colour" or "relation".
        clause: the index of the `include` clause that fails.
        found: what the scene shows instead: a number, a colour or a relation.
    """

    kind: str
    clause: int
    found: int | str


def plan_scene(caption: Metadata, violate: bool, rng: Rng, alone: bool = False) -> tuple[Plan, Violation | None]:
    """Plan a scene that shows all that a caption asks for, and perhaps more; or, where `violate`, all but one thing.

    Args:
        caption: in GenEval's format.
        violate: whether the scene breaks its caption.
        rng: all random choices come from it.
        alone: show nothing besides what the caption asks for, except in the place of a missing object; objects of one
            kind have one colour.

    Returns:
        The plan, and how it breaks the caption, or None where the caption holds.
    """
    include = caption["include"]
    alike = rng.random() < 0.5 or alone  # whether all objects of a clause have the same colour
    wanted = []  # the objects of each clause
    for clause in include:
        asked = [clause.get("color") or choose_one(COLOURS, rng) for _ in range(clause["count"])]
        wanted.append([Wanted(clause["class"], asked[0] if alike else color) for color in asked])
    relation = next((c["position"][0] for c in include if "position" in c), None)
    violation = None
    if violate:
        kind = choose_one(_kinds_of_violation(caption), rng)
        broken = int(rng.integers(len(include)))
        violation, relation = _violate(kind, broken, include, wanted, relation, rng)
    objects = [w for clause_objects in wanted for w in clause_objects]
    missing = violation is not None and violation.kind == "missing"
    if missing:
        relation = None
    taken = {c["class"] for c in include}
    most = 2 if len(objects) < 4 else 1
    extra = int(rng.integers(1, most + 1)) if not alone and rng.random() < 0.3 else 0
    if not objects or (missing and rng.random() < 0.8):
        extra = max(extra, 1)  # another object takes the place of the missing one
    others = [name for name in VOCABULARY if name not in taken]
    objects += [Wanted(name, choose_one(COLOURS, rng)) for name in choose(others, extra, rng)]
    return Plan(tuple(objects), relation), violation


def _kinds_of_violation(caption: Metadata) -> tuple[str, ...]:
    """Return how a scene may break a caption; a kind that stands there twice is chosen twice as often."""
    if caption["tag"] == "counting":
        return ("count",)
    if caption["tag"] == "position":
        return ("relation", "relation", "missing")
    if "color" in caption["include"][0]:
        return ("colour", "colour", "missing")
    return ("missing",)


def _violate(
    kind: str, clause: int, include: list[dict[str, Any]], wanted: list[list[Wanted]], relation: str | None, rng: Rng
) -> tuple[Violation, str | None]:
    """Change `wanted` in place so that one thing is not as the caption asks.

    Args:
        kind: of the violation.
        clause: the index of the clause that is broken.
        include: the caption's clauses.
        wanted: the objects of each clause.
        relation: the one that the caption asks for, or None.
        rng: all random choices come from it.

    Returns:
        The violation, and the relation that the scene shows.
    """
    number = len(wanted[clause])
    if kind == "missing":
        wanted[clause].clear()
        return Violation("missing", clause, 0), relation
    if kind == "count":
        found = number + choose_one((-1, 1), rng)
        wanted[clause][:] = (wanted[clause] * 2)[:found]
        return Violation("count", clause, found), relation
    if kind == "colour":
        others = [c["color"] for c in include if c is not include[clause]]
        asked = include[clause]["color"]
        # in half of the cases the colour of the other object, since generators mix colours up
        if others and rng.random() < 0.5:
            found_colour = others[0]
        else:
            found_colour = choose_one([c for c in COLOURS if c != asked], rng)
        wanted[clause][:] = [replace(w, color=found_colour) for w in wanted[clause]]
        return Violation("colour", clause, found_colour), relation
    assert relation is not None
    shown_relation = OPPOSITE[relation] if rng.random() < 0.6 else choose_one([r for r in AXES if r != relation], rng)
    return Violation("relation", len(include) - 1, shown_relation), shown_relation


def choose(options: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Draw `count` different options."""
    return [options[int(i)] for i in rng.choice(len(options), count, replace=False)]


def choose_one(options: Sequence[Any], rng: Rng) -> Any:
    """Draw one of the options."""
    return options[int(rng.integers(len(options)))]
