"""Reading the files of a result's folder, whatever they hold: `Damaged` says in a line what is wrong with one.

Whoever reads results reads many, of which somebody may have edited one, or another program have written one; that one
must not lose the others.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path, PureWindowsPath  # the latter knows both kinds of slashes
from typing import TYPE_CHECKING, Any

from lactok.evaluation.older_results import Damaged

if TYPE_CHECKING:
    import pandas

LARGEST = 1 << 28  # bytes of a JSON file; that of a result of a million images with reasons is smaller
DEEPEST = 64  # objects and lists inside each other; a result has about six
LONGEST = 10**100  # whole numbers below it become floats without an error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, in which every number is finite and every text is Unicode.

    Raises:
        Damaged: it is missing, damaged, too large or too deep.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Damaged(f"{path.name} is larger than {LARGEST >> 20} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"there is no {path.name}") from None
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path.name} is damaged ({error})") from error
    fault = _fault(content)
    if fault:
        raise Damaged(f"{path.name} holds {fault}")
    return content


def _fault(content: object) -> str:
    """Return what no result holds, in words; "" where there is no such thing."""
    level = [content]
    for _ in range(DEEPEST):
        deeper: list[object] = []
        for value in level:
            if isinstance(value, dict):
                deeper += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, float) and not math.isfinite(value):
                return "a number that is not finite"
            elif isinstance(value, int) and abs(value) >= LONGEST:
                return "a number of more than 100 digits"
            elif isinstance(value, str) and not _is_unicode(value):
                return "a text that is not Unicode"
        if not deeper:
            return ""
        level = deeper
    return f"lists in lists, more than {DEEPEST}"


def _is_unicode(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair, which can be neither printed nor written."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_plain_name(name: object) -> bool:
    """Return whether a value is a name that a file or a folder can have, and that cannot lead out of its folder.

    >>> [is_plain_name(name) for name in ("a.png", "..", "a/b", "c:d", "", 1)]
    [True, False, False, False, False, False]
    """
    if not isinstance(name, str) or name in ("", "..") or PureWindowsPath(name).name != name or not name.isprintable():
        return False
    return len(name.encode("utf-8", "surrogateescape")) <= 255


def check_arrays(path: Path) -> None:
    """Check that a file holds NumPy arrays of numbers and texts alone; nothing but their heads is read.

    Raises:
        Damaged: it is no `.npz` file, or an array would hold Python objects, which only unpickling could read.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as arrays:
            for name in arrays.namelist():
                with arrays.open(name) as array:
                    old = np.lib.format.read_magic(array) == (1, 0)
                    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                    if read(array)[2].hasobject:
                        raise Damaged(f"{path.name} holds Python objects, which are not read")
    except Damaged:
        raise
    except Exception as error:  # whatever zipfile and NumPy meet in a file with any content
        raise Damaged(f"{path.name} is damaged ({type(error).__name__})") from error


def read_run(path: Path) -> dict[str, Any]:
    """Return the content of a `run.json`; empty where it cannot be read or its parts are not what they should be."""
    try:
        found = read_json(path)
    except Damaged:
        return {}
    if not isinstance(found, dict):
        return {}
    tables = [found.get(name, {}) for name in ("machine", "versions", "seconds", "images")]
    if not all(isinstance(table, dict) for table in tables):
        return {}
    texts = [found.get("device", ""), tables[0].get("processor", "")]
    return found if all(isinstance(text, str) for text in texts) else {}


def read_records(path: Path, texts: Sequence[str], numbers: Collection[str], most: int) -> pandas.DataFrame:
    """Read a table of records.

    Args:
        path: the Parquet file.
        texts: the columns that it must have, which hold texts; in the first no text is missing.
        numbers: the columns that hold numbers where it has them.
        most: the largest number of rows.

    Raises:
        Damaged: it is missing or damaged, or its columns or rows are other ones.
    """
    try:
        return _checked_records(path, texts, numbers, most)
    except Damaged as error:
        raise Damaged(f"{path.name} {error}") from error
    except Exception as error:  # pyarrow's errors have no common class
        what = "missing" if not path.is_file() else f"damaged ({ascii(' '.join(str(error).split()))[1:-1][:200]})"
        raise Damaged(f"{path.name} is {what}") from error


def _checked_records(path: Path, texts: Sequence[str], numbers: Collection[str], most: int) -> pandas.DataFrame:
    """Do what `read_records` does, with whatever error the libraries raise; the message has no name of the file."""
    import pandas
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        rows = file.metadata.num_rows
    if rows > most:
        raise Damaged(f"has {rows} rows and result.json {most} samples")
    frame = pandas.read_parquet(path, engine="pyarrow")
    missing = [name for name in texts if name not in frame.columns]
    if missing:
        raise Damaged(f"has no column {missing[0]}")
    for name in frame.columns:
        column = frame[name]
        if name in numbers:
            if not pandas.api.types.is_numeric_dtype(column) and not column.isna().all():
                raise Damaged(f"is not what it should be: the column {name!a} does not hold numbers")
            column.to_numpy("float64", na_value=float("nan"))
        else:
            values = list(column.dropna())  # each is decoded: bytes that are no UTF-8 are found
            if name in texts and not all(isinstance(value, str) for value in values):
                raise Damaged(f"is not what it should be: the column {name} does not hold texts")
    if frame[texts[0]].isna().any():
        raise Damaged(f"is not what it should be: the column {texts[0]} has gaps")
    return frame
