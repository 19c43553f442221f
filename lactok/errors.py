"""Errors that the user can mend: a command prints them as one line and exits with 2.

Each is also what a Python user expects: a wrong value is a ValueError, an unknown name a KeyError, a missing file a
FileNotFoundError. Messages write the names of arguments in backquotes; a command shows those as its flags.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import math
import operator
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# the `errno` of an OSError where a disk or a quota is full, and where a folder cannot be written to
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_UNWRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR),
    errno.ENAMETOOLONG,
    errno.EFBIG,  # a limit on the size of files
)

LARGEST = 10**18  # the end of the range of a whole number that has no other end


class UserError(Exception):
    """Bad input; the message says what is wrong and how to mend it."""

    __str__ = Exception.__str__  # UnknownName is a KeyError too, and that would print the message in quotes


class WrongValue(UserError, ValueError):
    """An argument, an option or a file's content that is not allowed."""


class UnknownName(UserError, KeyError):
    """A name that nothing is registered under."""


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class NothingMeasured(WrongValue):
    """No image of a data set, or no picture of a folder, can be measured; the message says why the first cannot."""


class WeightsNotFound(MissingFile):
    """None of an asset's sources has the file; the message says what was tried and how to get it."""


class DiskError(UserError):
    """A full or unwritable disk: nothing more can be stored, so the whole command ends."""


class ClusterError(DiskError):
    """A cluster that cannot be had, or computes other numbers: the whole command ends, as with a full disk."""


def unknown(kind: str, name: str, available: Iterable[str], also: Iterable[str] = (), where: str = "") -> UnknownName:
    """Return the error for a name that is not among the available ones; it suggests the nearest and lists all.

    The first of the names that begin with what was typed is the nearest, whatever else is spelled like it.

    Args:
        kind: what the name is of, for the message.
        name: what was typed.
        available: the names that there are, those first that are to be suggested rather than others.
        also: what may stand there and is no name; it is listed and never suggested.
        where: what shows the names, instead of a list of them, where they are too many for a message.

    >>> print(unknown("tokenizer", "titok-s123", ["titok-s128", "identity"]))
    unknown tokenizer 'titok-s123', did you mean 'titok-s128'? Available: identity, titok-s128
    >>> print(unknown("metric", "lpips", ["psnr", "lpips_alex", "lpips_vgg"]))
    unknown metric 'lpips', did you mean 'lpips_alex'? Available: lpips_alex, lpips_vgg, psnr
    """
    names = list(available)
    lower = {other.lower(): other for other in reversed(names)}  # papers write PSNR
    begun = [other for other in names if name and other.lower().startswith(name.lower())]
    near = begun or [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=1)]
    hint = f", did you mean {near[0]!r}?" if near else "."
    listed = where or f"Available: {', '.join(sorted([*names, *also])) or 'none'}"
    return UnknownName(f"unknown {kind} {name!r}{hint} {listed}")


def integer(text: str) -> int:
    """Return the whole number that a text writes in plain digits; commands give it to argparse as `type`.

    `int` alone takes underscores, spaces and the digits of every script too.

    Raises:
        ValueError: the text is anything else, or has more than 20 digits.

    >>> integer("-12")
    -12
    """
    if not re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no whole number in plain digits")
    return int(text)


def decimal(text: str) -> float:
    """Return the number that a text writes in plain digits, as 0.5 or 1e-3; commands give it to argparse as `type`.

    Raises:
        ValueError: the text is anything else, such as nan or inf, or the number is too large for a float.
    """
    if len(text) > 40 or not re.fullmatch(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no number in plain digits")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return value


def allowed(least: float | None, most: float | None) -> str:
    """Return a range of numbers in words, both ends included; None, or `LARGEST` above, for an open end.

    >>> allowed(1, None), allowed(0, 65535), allowed(None, 8), allowed(None, None)
    ('1 or more', 'between 0 and 65535', '8 or less', 'any finite number')
    """
    if least is None:
        return "any finite number" if most is None else f"{most} or less"
    return f"{least} or more" if most in (None, LARGEST) else f"between {least} and {most}"


def whole(argument: str, value: object, least: int, most: int = LARGEST) -> int:
    """Return `value` as an int if it is a whole number in a range: the one check of arguments that are numbers.

    Args:
        argument: the argument's name, for the message.
        value: an integer of Python or numpy.
        least, most: the ends of the range, both included.

    Raises:
        WrongValue: it is no whole number, or out of the range.

    >>> whole("limit", 12, 1)
    12
    >>> whole("limit", 0, 1)
    Traceback (most recent call last):
    ...
    lactok.errors.WrongValue: `limit` 0: 1 or more
    """
    # a range that begins at 0 or 1 is told by its beginning, to all but those who are above its end
    told = f"{least} or more" if least in (0, 1) else allowed(least, most)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise WrongValue(f"`{argument}` {_short(value)}: a whole number, {told}")
    number = operator.index(value)
    if not least <= number <= most:
        # Python refuses to print the longest numbers
        shown = number if abs(number) < 10**20 else "of more than 20 digits"
        if number > most:
            told = "less than 10^18" if most == LARGEST else allowed(least, most)
        raise WrongValue(f"`{argument}` {shown}: {told}")
    return number


def at_least(argument: str, value: object, least: int, most: int = LARGEST) -> None:
    """Raise WrongValue unless `value` is None (the argument was left out) or a whole number in a range, see `whole`."""
    if value is not None:
        whole(argument, value, least, most)


def _short(value: object) -> str:
    """Return the first 40 characters of a value as Python writes it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


_BREAKS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")  # spaces, ends of lines, control characters


def one_line(value: object, shown: int | None = 200) -> str:
    """Return a value as text in one line, without control characters, for a message that tells what a file holds.

    Args:
        value: what is told.
        shown: number of characters after which it is cut; None for all.

    >>> one_line("a\\n  b\\x1b" + "c" * 1000, 6)
    'a b cc ...'
    """
    text = _BREAKS.sub(" ", str(value)).strip()
    return text if shown is None or len(text) <= shown else f"{text[:shown]} ..."


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


def check_output_file(argument: str, path: str | Path | None, ending: str = "") -> None:
    """Raise a UserError where a file could not be written later; a command asks before the work, and makes nothing.

    The folders above the file may be missing: whoever writes the file makes them.

    Args:
        argument: the argument that names the file.
        path: the file; None, where the user asked for none, is allowed.
        ending: what its name has to end in, so that no file of another kind is overwritten; "" for anything.

    Raises:
        WrongValue: it is a folder, no name of a file, or one of another ending.
        DiskError: it or the folder that it would be in cannot be written to, or what should be a folder is a file.
    """
    if path is None:
        return
    _check_output(argument, Path(path), is_file=True)
    if not str(path).lower().endswith(ending):
        raise WrongValue(f"`{argument}` {one_line(path)}: name a file that ends in {ending}")


def check_output_folder(argument: str, path: str | os.PathLike[str]) -> None:
    """Raise a UserError, as above, where nothing could be written into a folder later, which may be missing now."""
    _check_output(argument, Path(path), is_file=False)


def _check_output(argument: str, path: Path, is_file: bool) -> None:
    """Check the path of a file or folder that is to be written."""
    try:
        if "\0" in str(path):
            raise ValueError("a null character")
        if is_file and path.is_dir():
            raise WrongValue(f"`{argument}` {path} is a folder; name a file")
        nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    except UserError:
        raise
    except (OSError, ValueError) as error:  # too long a name, or a character that no name can hold
        why = error.strerror if isinstance(error, OSError) else error
        raise WrongValue(f"`{argument}` {str(path)[:60]!a}: no path that can be written ({why})") from error
    if not nearest.is_dir() and not (is_file and nearest == path.absolute()):
        raise DiskError(f"`{argument}` {path}: {nearest} is a file, not a folder; choose another `{argument}`")
    folder = nearest if nearest.is_dir() else nearest.parent
    if not os.access(nearest, os.W_OK) or not _takes_files(folder):
        raise DiskError(f"`{argument}` {path}: cannot write to {nearest}; choose another `{argument}`")


def _takes_files(folder: Path) -> bool:
    """Return whether a file can be made in a folder: some, as /proc, say that they can be written to and take none."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in DISK_FULL  # that may change until the work is done, and has a message of its own
