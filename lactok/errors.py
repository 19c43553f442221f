"""Errors that the user can mend: a command prints them as one line and exits with 2.

Each is also what a Python user expects: a wrong value is a ValueError, an unknown name a KeyError, a missing file a
FileNotFoundError. Messages write the names of arguments in backquotes; a command shows those as its flags.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# the `errno` of an OSError where a disk or a quota is full, and where a folder cannot be written to
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_UNWRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR),
    errno.EFBIG,  # a limit on the size of files
)


class UserError(Exception):
    """Bad input; the message says what is wrong and how to mend it."""

    __str__ = Exception.__str__  # UnknownName is a KeyError too, and that would print the message in quotes


class WrongValue(UserError, ValueError):
    """An argument, an option or a file's content that is not allowed."""


class UnknownName(UserError, KeyError):
    """A name that nothing is registered under."""


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class WeightsNotFound(MissingFile):
    """None of an asset's sources has the file; the message says what was tried and how to get it."""


class DiskError(UserError):
    """A full or unwritable disk: nothing more can be stored, so the whole command ends."""


def unknown(kind: str, name: str, available: Iterable[str]) -> UnknownName:
    """Return the error for a name that is not among the available ones; it suggests the nearest and lists all.

    Args:
        kind: what the name is of, for the message.

    >>> print(unknown("tokenizer", "titok-s123", ["titok-s128", "identity"]))
    unknown tokenizer 'titok-s123', did you mean 'titok-s128'? Available: identity, titok-s128
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else "."
    return UnknownName(f"unknown {kind} {name!r}{hint} Available: {', '.join(names) or 'none'}")


def at_least(argument: str, value: object, least: int) -> None:
    """Raise WrongValue unless `value` is a whole number of at least `least`, or None (the argument was left out).

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


def one_line(value: object, shown: int = 200) -> str:
    """Return a value as text in one line of bounded length, for a message that tells what a file holds.

    >>> one_line("a\\n  b" + "c" * 1000, 6)
    'a bccc ...'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= shown else f"{text[:shown]} ..."


def first_few(names: Sequence[str], few: int = 10, rest: str = "") -> str:
    """Return the first names and how many more there are, for a line that must stay readable whatever the input.

    Args:
        names: what is to be named.
        few: how many are named.
        rest: what is said of the others, such as where they stand.

    >>> first_few(["a.png", "b.png", "c.png"], 2, "named in result.json")
    'a.png, b.png and 1 more, named in result.json'
    >>> first_few(["a.png", "b.png"])
    'a.png, b.png'
    """
    shown = ", ".join(names[:few])
    if len(names) <= few:
        return shown
    return f"{shown} and {len(names) - few} more{f', {rest}' if rest else ''}"


@contextlib.contextmanager
def disk_errors(folder: str | Path, remedy: str = "choose another `out`") -> Iterator[None]:
    """Turn the OSError of a full or unwritable disk inside the `with` block into a DiskError.

    Args:
        folder: what the message names.
        remedy: what the user can do, the message's end.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskError(f"no space left in {folder}: free some and run again, or {remedy}") from error
        if error.errno in DISK_UNWRITABLE:
            raise DiskError(f"cannot write to {folder} ({error.strerror}); {remedy}") from error
        raise
