"""The labels of photographs: the folders that they lie in, or a CSV file of names and labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lactok import outside_text
from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.names import matched, normalised
from lactok.files import is_file
from lactok.outside_text import shown

FOLDERS, NONE = "folders", "none"  # what may stand instead of a file


@dataclass(frozen=True)
class Labels:
    """The labels of a data set's photographs.

    Attributes:
        source: where they come from.
        names: the label of each photograph, None for one without.
    """

    source: str
    names: tuple[str | None, ...]


def check(source: str) -> None:
    """Raise a UserError for a source of labels that cannot be right: neither a word that is known nor a CSV file."""
    if source in (FOLDERS, NONE):
        return
    path = Path(source)
    if path.suffix.lower() != ".csv":
        raise WrongValue(f"`labels` {shown(source, 200)}: {FOLDERS}, {NONE}, or a file that ends in .csv")
    if not is_file(path):
        raise MissingFile(f"`labels` {shown(source, 200)}: no such file")


def of(source: str, samples: Sequence[str]) -> Labels | None:
    """Return the labels of samples; None where there are none.

    Args:
        source: "folders": the name of the folder that directly holds the photograph, unless it is the same for all;
            "none"; or a CSV file, see `read`.
        samples: the samples' names, such as "cats/1.jpg".

    Raises:
        UserError: the CSV file cannot be read, or names none of the samples.

    >>> of("folders", ["cats/1.jpg", "dogs/1.jpg"]).names, of("folders", ["val/1.jpg", "val/2.jpg"])
    (('cats', 'dogs'), None)
    """
    if source == NONE:
        return None
    if source == FOLDERS:
        names = tuple(PurePosixPath(sample).parent.name or None for sample in samples)
        return Labels(FOLDERS, names) if len(set(names) - {None}) > 1 else None
    known = read(Path(source))
    pairs = matched(samples, known, "labels")
    if not pairs:
        raise WrongValue(
            f"`labels` {shown(source, 200)} names none of the photographs, such as {shown(samples[0])}; its first name "
            f"is {shown(next(iter(known)))}"
        )
    return Labels(Path(source).name, tuple(known[pairs[s]] if s in pairs else None for s in samples))


def read(path: Path) -> dict[str, str]:
    """Return the label of each name of a CSV file, in its order.

    Args:
        path: a file of two columns, the photograph's name and its label; a first line whose second cell is "label" is
            the head.

    Raises:
        MissingFile: it is not there.
        WrongValue: it is no text, a line has not two cells, one of them is empty, or a photograph has two labels.
    """
    name = shown(path, 200)
    text = outside_text.read(path, f"labels {name}")
    found: dict[str, str] = {}
    seen: set[str] = set()
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise WrongValue(f"labels {name}: no CSV ({error})") from error
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and [cell.lower() for cell in cells[1:]] == ["label"]):
            continue
        if len(cells) != 2 or not all(cells):
            raise WrongValue(f"labels {name} row {number}: write two cells, the photograph's name and its label")
        image, label = cells
        if normalised(image) in seen:
            raise WrongValue(f"labels {name} row {number}: {shown(image)} has a label already; leave one of them out")
        seen.add(normalised(image))
        found[image] = label
    if not found:
        raise WrongValue(f"labels {name} holds no labels")
    return found
