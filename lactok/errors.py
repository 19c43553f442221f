"""Errors that are the user's to mend: one line, exit code 2."""

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


class DiskError(UserError):
    """A full or unwritable disk: nothing more can be stored, so the whole command ends."""


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


@contextlib.contextmanager
def disk_errors(folder: str | Path, remedy: str = "choose another --out") -> Iterator[None]:
    """A full or unwritable disk as one line with its remedy; what was finished before stays."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskError(f"no space left in {folder}: free some and run again, or {remedy}") from error
        if error.errno in UNWRITABLE:
            raise DiskError(f"cannot write to {folder} ({error.strerror}); {remedy}") from error
        raise
