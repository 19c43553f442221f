"""Lists of images: a text file with a path on each line, relative to the file."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lactok import outside_text
from lactok.errors import UserError, WrongValue, first_few
from lactok.evaluation.names import normalised
from lactok.files import is_file
from lactok.outside_text import lines, shown


def read(path: Path) -> dict[str, Path]:
    """Return the images that a list names, by id.

    The ids are the paths as written; of an absolute path, the file name, with as many folders before it as tell it from
    the others. Paths that lead to one place (`./a.jpg` and `a.jpg`), and names that differ only in their Unicode form,
    are one image.

    Raises:
        MissingFile: the list cannot be opened.
        UserError: it is no text, names no images, one that is not there, or one twice.
    """
    name = shown(path, 200)
    places: dict[str, tuple[str, str]] = {}  # by the normalised path: where the line stands, the path as written
    files: dict[str, Path] = {}
    missing = []
    for where, line in lines(outside_text.read(path), name):
        entry = line.strip()
        place = normalised(os.path.abspath(path.parent / entry))
        if place in places:
            first, other = places[place]
            raise WrongValue(
                f"{where} names an image twice: {shown(entry)} is {shown(other)} in {first}; leave one out"
            )
        places[place] = where.removeprefix(f"{name} "), entry
        file = _existing(path.parent, entry)
        if file is None:
            missing.append(f"{where.removeprefix(f'{name} line ')} ({shown(entry)})")
        else:
            files[entry] = file
    if missing:
        raise UserError(f"{name}: no such image in line {first_few(missing, 3)}; paths begin at the list's folder")
    if not files:
        raise UserError(f"{name}: names no images")
    ids = ids_of(list(files))
    return {ids[entry]: file for entry, file in files.items()}


def _existing(folder: Path, entry: str) -> Path | None:
    """Return the file that an entry of a list names, written as there or in another Unicode form; None if none is."""
    for name in dict.fromkeys((entry, normalised(entry), unicodedata.normalize("NFD", entry))):
        if is_file(folder / name):
            return folder / name
    return None


def ids_of(entries: Sequence[str]) -> dict[str, str]:
    """Return the ids of a list's entries: relative paths as written, of absolute ones as much as tells them apart.

    >>> ids_of(["/data/n01/0.png", "/data/n02/0.png", "/data/n02/1.png", "a/2.png"])
    {'/data/n01/0.png': 'n01/0.png', '/data/n02/0.png': 'n02/0.png', '/data/n02/1.png': '1.png', 'a/2.png': 'a/2.png'}
    """
    parts = {entry: Path(entry).parts for entry in entries if Path(entry).is_absolute()}
    depths = dict.fromkeys(parts, 1)
    while True:
        ids = {e: str(Path(*parts[e][-depths[e] :])) if e in parts else e for e in entries}
        count = Counter(normalised(identifier) for identifier in ids.values())
        alike = [e for e in parts if count[normalised(ids[e])] > 1 and depths[e] < len(parts[e])]
        if not alike:
            return ids
        for entry in alike:
            depths[entry] += 1
