"""GenEval's six tasks over the scenes' objects: captions with their metadata, and what a scene of one shows.

Wording and metadata are GenEval's (djghosh13/geneval, prompts/create_prompts.py), over another vocabulary and drawn
differently: each caption for itself, by seed.
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
    (name,) = chosen(VOCABULARY, 1, rng)
    return {"include": [{"class": name, "count": 1}], "prompt": f"a photo of {with_article(name)}"}


def two_object(rng: Rng) -> Metadata:
    names = chosen(VOCABULARY, 2, rng)
    prompt = f"a photo of {with_article(names[0])} and {with_article(names[1])}"
    return {"include": [{"class": name, "count": 1} for name in names], "prompt": prompt}


def counting(rng: Rng) -> Metadata:
    (name,), number = chosen(VOCABULARY, 1, rng), int(rng.integers(2, 4, endpoint=True))
    return {
        "include": [{"class": name, "count": number}],
        "exclude": [{"class": name, "count": number + 1}],
        "prompt": f"a photo of {NUMBERS[number]} {plural(name)}",
    }


def colors(rng: Rng) -> Metadata:
    (name,), (color,) = chosen(VOCABULARY, 1, rng), chosen(COLOURS, 1, rng)
    prompt = f"a photo of {with_article(f'{color} {name}')}"
    return {"include": [{"class": name, "count": 1, "color": color}], "prompt": prompt}


def position(rng: Rng) -> Metadata:
    (first, second), (relation,) = chosen(VOCABULARY, 2, rng), chosen(tuple(AXES), 1, rng)
    return {
        "include": [{"class": second, "count": 1}, {"class": first, "count": 1, "position": [relation, 0]}],
        "prompt": f"a photo of {with_article(first)} {relation} {with_article(second)}",
    }


def color_attr(rng: Rng) -> Metadata:
    names, both = chosen(VOCABULARY, 2, rng), chosen(COLOURS, 2, rng)
    phrases = [with_article(f"{color} {name}") for name, color in zip(names, both, strict=True)]
    include = [{"class": name, "count": 1, "color": color} for name, color in zip(names, both, strict=True)]
    return {"include": include, "prompt": f"a photo of {phrases[0]} and {phrases[1]}"}


_CAPTIONS: dict[str, Callable[[Rng], Metadata]] = {
    "single_object": single_object,
    "two_object": two_object,
    "counting": counting,
    "colors": colors,
    "position": position,
    "color_attr": color_attr,
}


def metadata(task: str, rng: Rng) -> Metadata:
    """A caption of a task with what is checked, in GenEval's format: tag, include, exclude (counting), prompt."""
    return {"tag": task} | _CAPTIONS[task](rng)


@dataclass(frozen=True)
class Violation:
    """How a scene breaks its caption.

    Attributes:
        kind: missing (an object is not there), count, colour or relation.
        clause: index of the `include` clause that fails.
        found: what is there instead: a number, a colour or a relation.
    """

    kind: str
    clause: int
    found: int | str


@dataclass(frozen=True)
class Shown:
    """A scene to be made for a caption, and how it breaks it, if it does."""

    plan: Plan
    violation: Violation | None


def shown(caption: Metadata, violate: bool, rng: Rng) -> Shown:
    """What a scene for a caption shows: all that is asked for and perhaps more, or all but one thing."""
    include = caption["include"]
    alike = rng.random() < 0.5  # several objects of a clause have one colour
    wanted = []
    for clause in include:
        asked = [clause.get("color") or one_of(COLOURS, rng) for _ in range(clause["count"])]
        wanted.append([Wanted(clause["class"], asked[0] if alike else color) for color in asked])
    relation = next((c["position"][0] for c in include if "position" in c), None)
    violation = None
    if violate:
        kinds = {"counting": ("count",), "position": ("relation", "relation", "missing")}
        coloured = "color" in include[0]
        of_task = kinds.get(caption["tag"], ("colour", "colour", "missing") if coloured else ("missing",))
        kind, number = one_of(of_task, rng), int(rng.integers(len(include)))
        violation, relation = _broken(kind, number, include, wanted, relation, rng)
    objects = [w for clause_objects in wanted for w in clause_objects]
    if violation is not None and violation.kind == "missing":
        relation = None
    taken = {c["class"] for c in include}
    most = 2 if len(objects) < 4 else 1
    extra = int(rng.integers(1, most + 1)) if rng.random() < 0.3 else 0
    if not objects or (violation is not None and violation.kind == "missing" and rng.random() < 0.8):
        extra = max(extra, 1)  # something else stands in its place
    others = [name for name in VOCABULARY if name not in taken]
    objects += [Wanted(name, one_of(COLOURS, rng)) for name in chosen(others, extra, rng)]
    return Shown(Plan(tuple(objects), relation), violation)


def _broken(
    kind: str, clause: int, include: list[dict[str, Any]], wanted: list[list[Wanted]], relation: str | None, rng: Rng
) -> tuple[Violation, str | None]:
    """Changes `wanted` so that one thing is not as asked; the violation, and the relation as it is shown."""
    number = len(wanted[clause])
    if kind == "missing":
        wanted[clause].clear()
        return Violation("missing", clause, 0), relation
    if kind == "count":
        found = number + one_of((-1, 1), rng)
        wanted[clause][:] = (wanted[clause] * 2)[:found]
        return Violation("count", clause, found), relation
    if kind == "colour":
        others = [c["color"] for c in include if c is not include[clause]]
        asked = include[clause]["color"]
        # half the time the colour of the other object, as when a model mixes them up
        found_colour = others[0] if others and rng.random() < 0.5 else one_of([c for c in COLOURS if c != asked], rng)
        wanted[clause][:] = [replace(w, color=found_colour) for w in wanted[clause]]
        return Violation("colour", clause, found_colour), relation
    assert relation is not None
    shown_relation = OPPOSITE[relation] if rng.random() < 0.6 else one_of([r for r in AXES if r != relation], rng)
    return Violation("relation", len(include) - 1, shown_relation), shown_relation


def chosen(options: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Different ones."""
    return [options[int(i)] for i in rng.choice(len(options), count, replace=False)]


def one_of(options: Sequence[Any], rng: Rng) -> Any:
    return options[int(rng.integers(len(options)))]
