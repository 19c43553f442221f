"""Errors that are the user's to mend: one line, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input; the message says what is wrong and how to mend it. Commands print it and exit with 2."""


class WeightsNotFound(UserError):
    """None of an asset's sources had it; the message says what was tried and how to get it."""


def unknown(kind: str, name: str, available: Iterable[str]) -> UserError:
    """The error for a name that is not known, with the nearest one and the list.

    >>> print(unknown("tokenizer", "titok-s123", ["titok-s128", "identity"]))
    unknown tokenizer 'titok-s123', did you mean 'titok-s128'? Available: identity, titok-s128
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {kind} {name!r}{hint} Available: {', '.join(names) or 'none'}")
