"""Text and JSON that other people and programs wrote: captions, image lists, prompts, metadata, recipes.

One reader for all of them, so that all take the same files and say the same of the others. Text is UTF-8, with or
without a byte order mark, or UTF-16 or UTF-32 with one. JSON is read with limits: no nesting that could overflow the
stack, no numbers that are not finite, no halves of surrogate pairs, no key twice in an object.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lactok.errors import MissingFile, WrongValue

LARGEST = 1 << 30  # bytes of a file; a device or a pipe without an end stops here too
LONGEST = 1_000_000  # characters of a line
MOST_DIGITS = 4300  # of a whole number, as Python itself takes them
DEEPEST = 64  # lists and objects inside each other
# UTF-32's mark begins with that of UTF-16, so it comes first
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
_MARK = "\ufeff"  # the same mark as a character
_MARKED = re.compile(rf"\s*{_MARK}[\s{_MARK}]*")  # a line's start with marks in it


def shown(text: object, most: int = 60) -> str:
    r"""Return a text as a message shows it: on one line, what cannot be printed as an escape, its middle cut if long.

    >>> shown("a\nb\x00"), shown("x" * 100, 20)
    ('a\\nb\\x00', 'xxxxxxxxxx...xxxxxxxxxx')
    """
    whole = str(text)
    if len(whole) > most:
        whole = f"{whole[: most // 2]}...{whole[-(most // 2) :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def read(path: str | Path, name: str = "") -> str:
    """Return a file's text, without a byte order mark.

    Args:
        path: the file.
        name: what messages call it; by default its path.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: it is no text in an encoding that can be told, or larger than a gigabyte.
    """
    name = name or shown(path, 200)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise MissingFile(f"{name} is a folder; name a file") from None
    except OSError as error:
        raise MissingFile(f"{name}: {error.strerror}") from error
    except ValueError:
        raise MissingFile(f"{name}: no file has such a name") from None
    if len(data) > LARGEST:
        raise WrongValue(f"{name} is larger than {LARGEST >> 30} GiB; split it")
    return decode(data, name)


def decode(data: bytes, name: str) -> str:
    """Return the text that bytes hold, without a byte order mark; raise WrongValue, which begins with `name`, if none.

    >>> decode("caf\u00e9".encode("utf-16"), "x.txt") == decode("caf\u00e9".encode("utf-8-sig"), "x.txt")
    True
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "UTF-8"))
    data = data.removeprefix(mark)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "UTF-8":
            raise WrongValue(f"{name} is damaged: it begins as {encoding} text and is none; save it as UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} in line {line}"
        raise WrongValue(f"{name} is not UTF-8 text ({found}; Latin-1 looks so); save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise WrongValue(
            f"{name} has a zero byte in line {line}: no text, or UTF-16 without its mark; save it as UTF-8"
        )
    return text.lstrip(_MARK)


def lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    r"""Yield the lines of a text that are not blank, each after what messages call its place.

    A line ends at "\n" or "\r\n" and nowhere else. Python's `splitlines` also divides at U+2028, U+0085 and form feeds,
    which belong to the text of a caption or prompt. The mark at a line's start comes from files that were joined.

    Args:
        text: a text as `read` returns it.
        name: what messages call the text.

    Raises:
        WrongValue: a line is longer than a million characters.

    >>> list(lines("a\u2028b\r\n\n c", "x.txt"))
    [('x.txt line 1', 'a\u2028b'), ('x.txt line 3', ' c')]
    """
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if marked := _MARKED.match(line):
            line = line[marked.end() :]
        if len(line) > LONGEST:
            raise WrongValue(f"{name} line {number} has {len(line):,} characters, {LONGEST:,} at most")
        if line.strip():
            yield f"{name} line {number}", line


class _Refused(ValueError):
    """Something that is JSON by its form and yet not taken."""


def from_json(text: str, where: str) -> Any:
    """Return the value that a text of JSON holds.

    Args:
        text: the text.
        where: what messages call its place.

    Raises:
        WrongValue: the text is not JSON, is nested too deeply, has a number that is not finite, a key twice in an
            object, or half of a surrogate pair (which JSON can hold and no file, table or tokenizer takes).
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_each_once,
            parse_constant=_refuse_constant,
            parse_float=_finite_number,
            parse_int=_whole_number,
        )
        _check_depth(value)
        # a text from `decode` has no surrogates of its own
        if re.search(r"\\u[dD][89a-fA-F]", text) or not _is_encodable(text):
            _check_surrogates(value)
    except RecursionError:
        raise WrongValue(f"{where}: nested more than {DEEPEST} deep") from None
    except _Refused as error:
        raise WrongValue(f"{where}: {error}") from None
    except ValueError as error:
        raise WrongValue(f"{where} is not JSON: {error}") from None
    return value


def json_object(text: str, where: str) -> dict[str, Any]:
    """Return the JSON object that a text holds; raise WrongValue as `from_json` does, or if it is something else."""
    value = from_json(text, where)
    if not isinstance(value, dict):
        raise WrongValue(f"{where}: not a JSON object")
    return value


def json_file(path: Path) -> Any:
    """Return the value that a file of JSON holds; raise MissingFile as `read` does, WrongValue as `from_json` does."""
    return from_json(read(path, path.name), path.name)


def json_lines(path: Path) -> list[Any]:
    """Return the values that a file of JSON lines holds, one a line; raise UserError as `json_file` does."""
    return [from_json(line, where) for where, line in lines(read(path, path.name), path.name)]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values; raise _Refused if a key stands twice, since one would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Refused(f"the key {shown(twice)!r} stands twice; leave one of them out")
    return found


def _refuse_constant(name: str) -> float:
    raise _Refused(f"{name} is no number in JSON")


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Refused(f"the number {shown(digits, 20)} is too large")
    return number


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _Refused(f"the number {shown(digits, 20)} has {len(digits):,} digits, {MOST_DIGITS:,} at most")
    return int(digits)


def _check_depth(value: Any) -> None:
    """Raise RecursionError if lists and objects are nested more than `DEEPEST` deep."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def _check_surrogates(value: Any) -> None:
    """Raise _Refused if a text or key of a value holds half of a surrogate pair."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and not _is_encodable(item):
            raise _Refused(f"half of a surrogate pair in {shown(item)!r}, which is no character; mend the text")


def _is_encodable(text: str) -> bool:
    """Return whether UTF-8 can hold a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
