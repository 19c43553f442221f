"""A folder of generated pictures in GenEval's layout: DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png.

Whatever is wrong is a line that names the folder or the picture; what is right is still judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.datasets import Sample, limited_numbers
from lactok.evaluation.protocol import digest
from lactok.images import open_photograph

LAYOUT = "DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png"
SAMPLES = 4  # a prompt, in the official protocol


@dataclass(frozen=True)
class Note:
    """Something about a folder or a picture, by its id ("00012", "00012/0003")."""

    id: str
    text: str


@dataclass(frozen=True)
class Entry:
    """A prompt and its pictures; their ids are folder/sample ("00012/0003").

    Attributes:
        id: the folder's name.
        prompt: its metadata, as in `benchmarks.geneval.prompts`.
    """

    id: str
    prompt: dict[str, Any]
    pictures: tuple[Sample, ...]


@dataclass(frozen=True)
class Folder:
    """What a folder of pictures holds.

    Attributes:
        asked: how many prompts should be there.
        left_out: samples, or whole prompts, that are missing; pictures that cannot be read are found when judged.
        remarks: what is unusual but judged.
    """

    name: str
    asked: int
    entries: tuple[Entry, ...]
    left_out: tuple[Note, ...]
    remarks: tuple[Note, ...]

    @property
    def pictures(self) -> tuple[Sample, ...]:
        """All pictures, prompt by prompt."""
        return tuple(picture for entry in self.entries for picture in entry.pictures)

    @property
    def sha256(self) -> str:
        """Of all prompts and pictures."""
        return digest([[e.id, e.prompt, [[p.id, p.sha256] for p in e.pictures]] for e in self.entries])


def read(root: Path, samples: int = SAMPLES, limit: int | None = None, numbers: Sequence[int] | None = None) -> Folder:
    """A folder and everything that is wrong with it, without opening the pictures.

    Args:
        samples: pictures that each prompt should have.
        limit: a fixed random choice of so many prompts.
        numbers: of the folders that should be there; by default all from 0 to the highest.

    Raises:
        MissingFile, WrongValue: no such folder, or nothing in it can be judged.
    """
    if not root.is_dir():
        raise MissingFile(f"no such folder {root}; expected {LAYOUT}")
    there = {int(p.name): p for p in sorted(root.iterdir()) if p.is_dir() and p.name.isdecimal()}
    if not there:
        raise WrongValue(f"{root} holds no folders 00000, 00001, ...; expected {LAYOUT}")
    if numbers is None:
        numbers = range(max(there) + 1)
    numbers = [numbers[i] for i in limited_numbers(len(numbers), limit)]
    entries: list[Entry] = []
    left_out, remarks = [], []
    for number in numbers:
        if number not in there:
            left_out.append(Note(f"{number:05}", "no such folder"))
            continue
        entry, missing, unusual = _entry(there[number], samples)
        entries += [entry] if entry is not None else []
        left_out += missing
        remarks += unusual
    if not any(entry.pictures for entry in entries):
        first = f", for one {left_out[0].id}: {left_out[0].text}" if left_out else ""
        raise WrongValue(f"{root} holds nothing to judge{first}; expected {LAYOUT}")
    return Folder(root.resolve().name, len(numbers), tuple(entries), tuple(left_out), tuple(remarks))


def _entry(path: Path, samples: int) -> tuple[Entry | None, list[Note], list[Note]]:
    """A prompt's folder; why samples are left out; remarks."""
    metadata = path / "metadata.jsonl"
    try:
        prompt = json.loads(metadata.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, [Note(path.name, "no metadata.jsonl")], []
    except (OSError, ValueError) as error:
        return None, [Note(path.name, f"metadata.jsonl cannot be read ({error})")], []
    wrong = _fault(prompt)
    if wrong:
        return None, [Note(path.name, f"metadata.jsonl: {wrong}")], []
    inside = path / "samples"
    files = sorted(inside.iterdir()) if inside.is_dir() else []
    pictures = [p for p in files if re.fullmatch(r"\d+\.png", p.name) and p.is_file()]
    text = json.dumps(prompt)
    entry = Entry(
        path.name, prompt, tuple(Sample(f"{path.name}/{p.stem}", p, prompt["prompt"], metadata=text) for p in pictures)
    )
    left_out, remarks = [], []
    if len(pictures) < samples:
        why = "" if inside.is_dir() else "no folder samples, "
        left_out.append(Note(path.name, f"{why}{len(pictures)} of {samples} samples"))
    elif len(pictures) > samples:
        remarks.append(Note(path.name, f"{len(pictures)} samples instead of {samples}; all are judged"))
    others = [p.name for p in files if p not in pictures and not p.name.startswith(".")]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        remarks.append(Note(path.name, f"not read: samples/{others[0]}{more}; the layout has numbered .png files"))
    return entry, left_out, remarks


def _fault(prompt: object) -> str:
    from benchmarks.geneval.prompts import fault

    return fault(prompt)


def open_picture(picture: Sample) -> tuple[Image.Image, str]:
    """A picture as upright RGB, and what is unusual about it ("" for RGB).

    Raises:
        UnreadableImage: not an image, or a damaged one.
    """
    image = open_photograph(picture.path)
    with Image.open(picture.path) as file:
        mode = file.mode
    return image, "" if mode == "RGB" else f"a picture of mode {mode}, judged as RGB (transparency over white)"
