"""Errors that are the user's to mend: one line, exit code 2 of a command.

Each is also what a Python user expects: a wrong value is a ValueError, an unknown name a KeyError, a missing file a
FileNotFoundError. Messages write the names of arguments in backquotes; a command shows those as its flags.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR)


class UserError(Exception):
    """Bad input; the message says what is wrong and how to mend it. Commands print it and exit with 2."""

    __str__ = Exception.__str__  # KeyError, which one of the classes below is too, would show quotes around it


class WrongValue(UserError, ValueError):
    """An argument, an option or a file's content that is not allowed."""


class UnknownName(UserError, KeyError):
    """A name that nothing is registered under."""


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class WeightsNotFound(MissingFile):
    """None of an asset's sources had it; the message says what was tried and how to get it."""


class DiskError(UserError):
    """A full or unwritable disk: nothing more can be stored, so the whole command ends."""


def unknown(kind: str, name: str, available: Iterable[str]) -> UnknownName:
    """The error for a name that is not known, with the nearest one and the list.

    >>> print(unknown("tokenizer", "titok-s123", ["titok-s128", "identity"]))
    unknown tokenizer 'titok-s123', did you mean 'titok-s128'? Available: identity, titok-s128
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else "."
    return UnknownName(f"unknown {kind} {name!r}{hint} Available: {', '.join(names) or 'none'}")


def at_least(argument: str, value: object, least: int) -> None:
    """Raise WrongValue for what is no whole number, or too small a one; None is an argument that was left out.

    >>> at_least("limit", 0, 1)
    Traceback (most recent call last):
    ...
    lactok.errors.WrongValue: `limit` 0: 1 or more
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongValue(f"`{argument}` {value!r}: a whole number, {least} or more")
    if value < least:
        raise WrongValue(f"`{argument}` {value}: {least} or more")


@contextlib.contextmanager
def disk_errors(folder: str | Path, remedy: str = "choose another `out`") -> Iterator[None]:
    """A full or unwritable disk as one line with its remedy; what was finished before stays."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise DiskError(f"no space left in {folder}: free some and run again, or {remedy}") from error
        if error.errno in UNWRITABLE:
            raise DiskError(f"cannot write to {folder} ({error.strerror}); {remedy}") from error
        raise
