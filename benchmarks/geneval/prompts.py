"""GenEval's 553 prompts, drawn with the official seed: the same bytes as the official `evaluation_metadata.jsonl`.

Source: djghosh13/geneval @ af4902f, prompts/create_prompts.py. One seeded generator draws the prompts of six tasks in
this order; duplicates are dropped.

A prompt is a dictionary {"tag", "include", "exclude", "prompt"}: the task, clauses that must hold, clauses that must
not hold (in the counting task alone), and the text. A clause {"class", "count"} says that at least `count` objects of a
class are there; it may also have a "color", or a "position" [relation, index of the include clause it relates to].
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.geneval.detectors import COLOURS

if TYPE_CHECKING:
    from numpy.random import Generator

Prompt = dict[str, Any]

SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"  # of evaluation_metadata.jsonl
SEED = 43
DRAWS = 100  # prompts that are drawn per task, before duplicates are dropped

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
OVER_ALL = ("overall", "per_image", "prompts")  # scores over all tasks; no task may have one of these names
RELATIONS = ("left of", "right of", "above", "below")

# the 80 classes of COCO in COCO's order, in GenEval's wording: it says "computer mouse", "tv remote" and "computer
# keyboard" where COCO says "mouse", "remote" and "keyboard"
OBJECTS = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "computer mouse",
    "tv remote",
    "computer keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)
NUMBERS = ("zero", "one", "two", "three", "four")


def with_article(name: str) -> str:
    """Return a noun with its indefinite article.

    >>> with_article("orange"), with_article("bus")
    ('an orange', 'a bus')
    """
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """Return the plural of a noun as GenEval writes it. Quirk: only a final s takes "es", so there are "toothbrushs".

    >>> plural("bus"), plural("toothbrush")
    ('buses', 'toothbrushs')
    """
    return f"{name}es" if name.endswith("s") else f"{name}s"


# each of the next functions draws one prompt of the task in its name


def _two_object(rng: Generator) -> Prompt:
    a, b = (OBJECTS[i] for i in rng.choice(len(OBJECTS), size=2, replace=False))
    include = [{"class": a, "count": 1}, {"class": b, "count": 1}]
    return {
        "tag": "two_object",
        "include": include,
        "prompt": f"a photo of {with_article(a)} and {with_article(b)}",
    }


def _counting(rng: Generator) -> Prompt:
    name = OBJECTS[rng.choice(len(OBJECTS))]
    count = int(rng.integers(2, 4, endpoint=True))
    return {
        "tag": "counting",
        "include": [{"class": name, "count": count}],
        "exclude": [{"class": name, "count": count + 1}],
        "prompt": f"a photo of {NUMBERS[count]} {plural(name)}",
    }


def _colors(rng: Generator) -> Prompt:
    name = OBJECTS[rng.choice(len(OBJECTS) - 1) + 1]  # not the first class, person: nobody is asked for in a colour
    colour = COLOURS[rng.choice(len(COLOURS))]
    return {
        "tag": "colors",
        "include": [{"class": name, "count": 1, "color": colour}],
        "prompt": f"a photo of {with_article(colour)} {name}",
    }


def _position(rng: Generator) -> Prompt:
    a, b = (OBJECTS[i] for i in rng.choice(len(OBJECTS), size=2, replace=False))
    relation = RELATIONS[rng.choice(len(RELATIONS))]
    return {
        "tag": "position",
        "include": [{"class": b, "count": 1}, {"class": a, "count": 1, "position": [relation, 0]}],
        "prompt": f"a photo of {with_article(a)} {relation} {with_article(b)}",
    }


def _color_attr(rng: Generator) -> Prompt:
    a, b = (OBJECTS[i + 1] for i in rng.choice(len(OBJECTS) - 1, size=2, replace=False))
    colour_a, colour_b = (COLOURS[i] for i in rng.choice(len(COLOURS), size=2, replace=False))
    include = [{"class": a, "count": 1, "color": colour_a}, {"class": b, "count": 1, "color": colour_b}]
    return {
        "tag": "color_attr",
        "include": include,
        "prompt": f"a photo of {with_article(colour_a)} {a} and {with_article(colour_b)} {b}",
    }


@cache
def _lines() -> tuple[str, ...]:
    """Return all prompts as lines of JSON, without line ends."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    drawn: list[Prompt] = [
        {
            "tag": "single_object",
            "include": [{"class": OBJECTS[i], "count": 1}],
            "prompt": f"a photo of {with_article(OBJECTS[i])}",
        }
        for i in rng.choice(len(OBJECTS), size=len(OBJECTS), replace=False)
    ]
    for draw in (_two_object, _counting, _colors, _position, _color_attr):
        drawn += [draw(rng) for _ in range(DRAWS)]
    return tuple(dict.fromkeys(json.dumps(prompt) for prompt in drawn))


def official() -> list[Prompt]:
    """Return the 553 prompts in the official order, by which their folders are numbered from 00000 to 00552.

    >>> [p["prompt"] for p in official()[:2]], len(official())
    (['a photo of a bench', 'a photo of a cow'], 553)
    """
    return [json.loads(line) for line in _lines()]


def metadata_file() -> bytes:
    """Return the bytes of the official `evaluation_metadata.jsonl`, one prompt per line; their sha256 is `SHA256`."""
    return "".join(f"{line}\n" for line in _lines()).encode()


def prompt_list() -> bytes:
    """Return the bytes of the official `generation_prompts.txt`, the text of one prompt per line."""
    return "".join(f"{prompt['prompt']}\n" for prompt in official()).encode()


def fault(prompt: object) -> str:
    """Return in words what is wrong with a prompt that was read from a file, or "" if nothing is.

    >>> fault({"tag": "own", "prompt": "a cat", "include": [{"class": "cat"}]})
    "include clause 1: 'count' is not a whole number of at least 1"
    """
    if not isinstance(prompt, dict):
        return "not a JSON object"
    for key in ("tag", "prompt"):
        if not isinstance(prompt.get(key), str):
            return f"{key!r} is not a text"
    if any(unicodedata.category(c)[0] == "C" for c in prompt["tag"]):
        return "'tag' has characters that are no text"
    if prompt["tag"] in OVER_ALL:
        return f"'tag' is {prompt['tag']!r}, which is the name of a score over all tasks; use another"
    for kind in ("include", "exclude"):
        clauses = prompt.get(kind, [])
        if not isinstance(clauses, list):
            return f"{kind!r} is not a list"
        for i, clause in enumerate(clauses):
            found = _clause_fault(clause, i)
            if found:
                return f"{kind} clause {i + 1}: {found}"
    return ""


def _clause_fault(clause: object, index: int) -> str:
    """Return in words what is wrong with the clause of this index in its list, or "" if nothing is."""
    if not isinstance(clause, dict) or not isinstance(clause.get("class"), str):
        return "'class' is not a text"
    if type(clause.get("count")) is not int or clause["count"] < 1:
        return "'count' is not a whole number of at least 1"
    if not isinstance(clause.get("color", ""), str):
        return "'color' is not a text"
    if "position" not in clause:
        return ""
    position = clause["position"]
    if not isinstance(position, list) or len(position) != 2 or position[0] not in RELATIONS:
        return f"'position' is not [relation, clause] with one of {', '.join(RELATIONS)}"
    if type(position[1]) is not int or not 0 <= position[1] < index:
        return "'position' names a clause that does not come before it (the first is 0)"
    return ""
