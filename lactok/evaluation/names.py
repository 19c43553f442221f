"""Names: when two names of files are one, which belong together, and how results of exchanged ids are named."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from lactok.errors import WrongValue, first_few

HOW_MATCHED = "names are matched by their path in the folder: the same name, or else the same name with another ending"

EXCHANGED = "+exchanged"  # ends the name of a source that decodes the ids of other images
PERTURBED = "+perturbed"  # in the name of a source that decodes ids some of which were changed; its settings follow


def is_control(label: str) -> bool:
    """Return whether a label is of a source that decodes other ids than the tokenizer made of the images.

    >>> is_control("titok-s128+exchanged"), is_control("titok-s128+perturbed@share=0.5"), is_control("jpeg@bits=900")
    (True, True, False)
    """
    return label.endswith(EXCHANGED) or f"{PERTURBED}@" in label


def normalised(name: str) -> str:
    """Return a name as it is compared: in Unicode's composed form, as most systems write it (macOS does not).

    >>> normalised("cafe\\u0301.png") == "caf\\u00e9.png"
    True
    """
    return unicodedata.normalize("NFC", name)


def utf8(name: str) -> str:
    r"""Return the name of a file or folder with escapes for bytes that are no UTF-8, so that it can be printed.

    >>> utf8("a.png"), utf8("\udcff.png") == r"\xff.png"
    ('a.png', True)
    """
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def stem(name: str) -> str:
    """Return a name of a file, with its folders, without its ending, as it is compared.

    >>> stem("cats/a.png"), stem("b.0.jpg")
    ('cats/a', 'b.0')
    """
    path = PurePosixPath(normalised(name))
    return path.with_suffix("").as_posix() if path.name else str(path)


def matched(first: Iterable[str], second: Iterable[str], what: str) -> dict[str, str]:
    """Match names: each with the same name, else with the same in Unicode's composed form, else with another ending.

    A name is matched at most once, so one that has its exact counterpart is no candidate for another's.

    Args:
        first, second: names of files with their folders, each name once.
        what: what the names of `second` are, in the plural, for the message.

    Returns:
        Names of `first` with those of `second` that belong to them, in the order of `first`; names without a
        counterpart are not in it.

    Raises:
        WrongValue: names of one side could belong to several of the other; the first few are named.

    >>> matched(["x.png", "x.jpg", "y.jpg"], ["x.png", "y.webp", "z.png"], "reconstructions")
    {'x.png': 'x.png', 'y.jpg': 'y.webp'}
    >>> matched(["a.jpg", "a.png"], ["a.webp"], "reconstructions")
    Traceback (most recent call last):
    ...
    lactok.errors.WrongValue: a.jpg, a.png and the reconstructions a.webp could belong together in more than one way; \
give each the whole name of its counterpart, with the ending
    """
    left, right = dict.fromkeys(first), dict.fromkeys(second)
    order = list(left)
    pairs: dict[str, str] = {}
    ambiguous: list[tuple[list[str], list[str]]] = []
    rules: tuple[Callable[[str], str], ...] = (str, normalised, stem)
    for rule in rules:
        candidates = _grouped(right, rule)
        for key, names in _grouped(left, rule).items():
            others = candidates.get(key, [])
            if not others:
                continue
            if len(names) == len(others) == 1:
                pairs[names[0]] = others[0]
            else:
                ambiguous.append((names, others))
            for name in names:
                del left[name]
            for name in others:
                del right[name]
    if ambiguous:
        names, others = ambiguous[0]
        more = f" (and {len(ambiguous) - 1} more names like these)" if len(ambiguous) > 1 else ""
        raise WrongValue(
            f"{first_few(names, 3)} and the {what} {first_few(others, 3)} could belong together in more than one "
            f"way{more}; give each the whole name of its counterpart, with the ending"
        )
    return {name: pairs[name] for name in order if name in pairs}


def _grouped(names: Iterable[str], rule: Callable[[str], str]) -> dict[str, list[str]]:
    """Return names by what a rule makes of them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(rule(name), []).append(name)
    return found
