"""Read captions about scenes: from the text to what GenEval checks, and what a caption says whatever its order.

The captions are those of `tasks`, "a photo of a red cup left of a kite" for one, and those that name several of them:
"a photo of two red cups, a kite and a blue car". Which captions are kept for evaluation is said here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from benchmarks.geneval.detectors import COLOURS
from benchmarks.geneval.prompts import NUMBERS, plural, with_article
from benchmarks.scenes import EVALUATED
from benchmarks.scenes.compose import AXES
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.scenes.tasks import OPPOSITE, Metadata

START = "a photo of "
MOST = 4  # objects of a phrase, as GenEval's words for numbers go
_RELATION = re.compile(rf" ({'|'.join(AXES)}) ")
_PLURALS = {plural(name): name for name in VOCABULARY}


def read(caption: str) -> Metadata | None:
    """Return what a caption asks for, in GenEval's format; None for a caption that is not about scenes.

    The same as `tasks.metadata` where the caption is one of its tasks. A phrase with a number also excludes one more.

    >>> read("a photo of a red cup")["include"], read("a photo of two cups")["exclude"], read("a cup")
    ([{'class': 'cup', 'count': 1, 'color': 'red'}], [{'class': 'cup', 'count': 3}], None)
    """
    if not caption.startswith(START):
        return None
    text = caption.removeprefix(START)
    relation = None
    if found := _RELATION.search(text):
        relation = found[1]
        phrases = [text[: found.start()], text[found.end() :]]
    else:
        phrases = re.split(r", | and ", text)
    clauses = [_phrase(phrase) for phrase in phrases]
    include = [clause for clause in clauses if clause is not None]
    names = [clause["class"] for clause in include]
    if len(include) < len(clauses) or len(set(names)) < len(names):
        return None
    if relation is not None:
        if any(clause["count"] > 1 for clause in include):
            return None
        first, second = include
        include = [second, first | {"position": [relation, 0]}]
    exclude = [{"class": c["class"], "count": c["count"] + 1} for c in include if c["count"] > 1]
    more = {"exclude": exclude} if exclude else {}
    return {"tag": _tag(include, relation), "include": include, **more, "prompt": caption}


def _tag(include: Sequence[dict[str, Any]], relation: str | None) -> str:
    """Return the task of a caption: the one that asks for the most of what it says."""
    if relation is not None:
        return "position"
    if any(clause["count"] > 1 for clause in include):
        return "counting"
    coloured = any("color" in clause for clause in include)
    if len(include) == 1:
        return "colors" if coloured else "single_object"
    return "color_attr" if coloured else "two_object"


def _phrase(text: str) -> dict[str, Any] | None:
    """Return the clause of a phrase such as "a red cup" or "three cups", None if it is none."""
    word, _, rest = text.partition(" ")
    count = 1 if word in ("a", "an") else NUMBERS.index(word) if word in NUMBERS[2 : MOST + 1] else 0
    colour, _, name = rest.partition(" ")
    if colour not in COLOURS or not (name in VOCABULARY or name in _PLURALS):
        colour, name = "", rest  # "an orange" is an object, "an orange orange" one of a colour
    if count > 1:
        name = _PLURALS.get(name, "")
    if not count or name not in VOCABULARY:
        return None
    clause: dict[str, Any] = {"class": name, "count": count}
    phrase = write_phrase(name, count, colour)
    return (clause | ({"color": colour} if colour else {})) if phrase == text else None


def write_phrase(name: str, count: int = 1, colour: str = "") -> str:
    """Return the words for some objects of one kind.

    >>> write_phrase("cup"), write_phrase("cup", 2, "red")
    ('a cup', 'two red cups')
    """
    noun = name if count == 1 else plural(name)
    words = f"{colour} {noun}" if colour else noun
    return with_article(words) if count == 1 else f"{NUMBERS[count]} {words}"


def write(phrases: Sequence[str], relation: str = "") -> str:
    """Return the caption of phrases; with a relation there are two of them.

    >>> write(["a cup", "a kite"], "left of"), write(["a cup", "a kite", "two cars"])
    ('a photo of a cup left of a kite', 'a photo of a cup, a kite and two cars')
    """
    if relation:
        return f"{START}{phrases[0]} {relation} {phrases[1]}"
    return START + ", ".join(phrases[:-1]) + (" and " if len(phrases) > 1 else "") + phrases[-1]


def content(caption: str) -> tuple[Any, ...] | None:
    """Return what a caption says, the same for "a cup and a kite" and "a kite and a cup"; None if it cannot be read.

    >>> content("a photo of a cup left of a kite") == content("a photo of a kite right of a cup")
    True
    """
    asked = read(caption)
    if asked is None:
        return None
    said = [(c["class"], c["count"], c.get("color", "")) for c in asked["include"]]
    if asked["tag"] != "position":
        return tuple(sorted(said))
    second, first = said
    relation = asked["include"][1]["position"][0]
    if relation in ("right of", "below"):
        first, second, relation = second, first, OPPOSITE[relation]
    return (relation, first, second)


@cache
def evaluated() -> dict[tuple[Any, ...], str]:
    """Return the captions that `python -m benchmarks.geneval --scenes` draws by default, by what they say."""
    from benchmarks.scenes.folder import caption_of

    captions = [caption_of(0, number)["prompt"] for number in range(EVALUATED)]
    found: dict[tuple[Any, ...], str] = {}
    for caption in captions:
        said = content(caption)
        assert said is not None, caption
        found.setdefault(said, caption)
    return found


def is_evaluated(caption: str) -> bool:
    """Return whether a caption says what one of `evaluated` says, so that nothing may be trained on it."""
    return content(caption) in evaluated()
