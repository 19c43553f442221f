"""Read a folder of generated pictures in GenEval's layout: DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png.

Whatever is wrong becomes a note that names the folder or the picture; the rest is still judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.geneval import prompts
from lactok import outside_text
from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.datasets import Sample, limited_numbers
from lactok.evaluation.protocol import digest
from lactok.images import open_photograph

LAYOUT = "DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png"
SAMPLES = 4  # pictures per prompt in the official protocol


@dataclass(frozen=True)
class Note:
    """A remark about a prompt's folder or a picture.

    Attributes:
        id: the folder's name ("00012"), or the picture's id ("00012/0003").
        text: the remark in words.
    """

    id: str
    text: str


@dataclass(frozen=True)
class Entry:
    """A prompt and its pictures.

    Attributes:
        id: the folder's name.
        prompt: the prompt's metadata, as in `benchmarks.geneval.prompts`.
        pictures: the pictures, whose ids are folder/sample ("00012/0003") and whose metadata is the prompt as JSON.
    """

    id: str
    prompt: dict[str, Any]
    pictures: tuple[Sample, ...]


@dataclass(frozen=True)
class Folder:
    """What a folder of pictures holds.

    Attributes:
        name: the folder's name.
        asked: how many prompts should be there.
        entries: the prompts that are there, with their pictures.
        left_out: pictures or whole prompts that are missing; damaged pictures are only found when they are judged.
        remarks: what is unusual but judged.
    """

    name: str
    asked: int
    entries: tuple[Entry, ...]
    left_out: tuple[Note, ...]
    remarks: tuple[Note, ...]

    @property
    def pictures(self) -> tuple[Sample, ...]:
        """Return all pictures, prompt by prompt."""
        return tuple(picture for entry in self.entries for picture in entry.pictures)

    @property
    def sha256(self) -> str:
        """Return a hash of all prompts and of the bytes of all pictures."""
        entries = []
        for entry in self.entries:
            pictures = [[picture.id, picture.sha256] for picture in entry.pictures]
            entries.append([entry.id, entry.prompt, pictures])
        return digest(entries)


def read(root: Path, samples: int = SAMPLES, limit: int | None = None, numbers: Sequence[int] | None = None) -> Folder:
    """Read a folder and note everything that is wrong with it, without opening the pictures.

    Args:
        samples: how many pictures each prompt should have.
        limit: read only this many prompts, a fixed random choice; None for all.
        numbers: numbers of the prompts' folders that should be there; by default all from 0 to the highest one there.

    Raises:
        MissingFile: there is no such folder.
        WrongValue: nothing in the folder can be judged.
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
        if entry is not None:
            entries.append(entry)
        left_out += missing
        remarks += unusual
    if not any(entry.pictures for entry in entries):
        first = f", for one {left_out[0].id}: {left_out[0].text}" if left_out else ""
        raise WrongValue(f"{root} holds nothing to judge{first}; expected {LAYOUT}")
    return Folder(root.resolve().name, len(numbers), tuple(entries), tuple(left_out), tuple(remarks))


def _entry(path: Path, samples: int) -> tuple[Entry | None, list[Note], list[Note]]:
    """Read a prompt's folder: its entry (None if it cannot be judged), notes on what is left out, and remarks."""
    metadata = path / "metadata.jsonl"
    try:
        prompt = outside_text.from_json(outside_text.read(metadata, "metadata.jsonl"), "metadata.jsonl")
    except MissingFile as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        return None, [Note(path.name, "no metadata.jsonl" if missing else str(error))], []
    except WrongValue as error:
        return None, [Note(path.name, str(error))], []
    fault = prompts.fault(prompt)
    if fault:
        return None, [Note(path.name, f"metadata.jsonl: {fault}")], []
    inside = path / "samples"
    files = sorted(inside.iterdir()) if inside.is_dir() else []
    numbered = [p for p in files if re.fullmatch(r"\d+\.png", p.name) and p.is_file()]
    text = json.dumps(prompt)
    pictures = tuple(Sample(f"{path.name}/{p.stem}", p, prompt["prompt"], metadata=text) for p in numbered)
    left_out, remarks = [], []
    if len(pictures) < samples:
        why = "" if inside.is_dir() else "no folder samples, "
        left_out.append(Note(path.name, f"{why}{len(pictures)} of {samples} samples"))
    elif len(pictures) > samples:
        remarks.append(Note(path.name, f"{len(pictures)} samples instead of {samples}; all are judged"))
    others = [p.name for p in files if p not in numbered and not p.name.startswith(".")]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        remarks.append(Note(path.name, f"not read: samples/{others[0]}{more}; the layout has numbered .png files"))
    return Entry(path.name, prompt, pictures), left_out, remarks


def open_picture(picture: Sample) -> tuple[Image.Image, str]:
    """Return a picture as upright RGB, and a remark on what is unusual about it ("" if nothing is).

    Raises:
        UnreadableImage: the file is not an image, or is damaged.
    """
    image = open_photograph(picture.path)
    with Image.open(picture.path) as file:
        mode = file.mode
    if mode == "RGB":
        return image, ""
    return image, f"a picture of mode {mode}, judged as RGB (transparency over white)"
