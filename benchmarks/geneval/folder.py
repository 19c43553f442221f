"""Read a folder of generated pictures in GenEval's layout: DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png.

Whatever is wrong becomes a note that names the folder or the picture; the rest is still judged.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.geneval import prompts
from lactok import outside_text
from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.datasets import Sample, limited_numbers
from lactok.evaluation.generated import SAMPLES
from lactok.evaluation.protocol import digest
from lactok.images import EXTENSIONS, open_photograph

LAYOUT = "DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png"
MOST = 1_000_000  # the layout's numbers have five digits; folders from this one on are no prompts'
FAR = 10  # numbers that are missing before the highest one, at least, where that looks like a stray


@dataclass(frozen=True)
class Note:
    """A remark about a prompt's folder or a picture.

    Attributes:
        id: the folder's name ("00012"), several of them ("00012 to 00014"), or the picture's id ("00012/0003").
        text: the remark in words.
        count: how many folders or pictures it is about.
    """

    id: str
    text: str
    count: int = 1


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
        tasks: how many prompts should be there of each task, as far as that is known.
        unknown: a note on the prompts that are left out and may be of any task, None if there are none.
    """

    name: str
    asked: int
    entries: tuple[Entry, ...]
    left_out: tuple[Note, ...]
    remarks: tuple[Note, ...]
    tasks: Mapping[str, int] = field(default_factory=dict)
    unknown: Note | None = None

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


def read(
    root: Path,
    samples: int = SAMPLES,
    limit: int | None = None,
    asked: Mapping[int, Mapping[str, Any]] | None = None,
) -> Folder:
    """Read a folder and note everything that is wrong with it, without opening the pictures.

    Args:
        samples: how many pictures each prompt should have.
        limit: read only this many prompts, a fixed random choice; None for all.
        asked: the prompts that should be there, by the numbers of their folders, which alone are read; by default there
            should be a folder for every number up to the highest one there.

    Raises:
        MissingFile: there is no such folder.
        WrongValue: nothing in the folder can be judged, or two folders or two samples have the same number.
    """
    if not root.is_dir():
        raise MissingFile(f"no such folder {root}; expected {LAYOUT}")
    there = _by_number(sorted(p for p in root.iterdir() if p.name.isdecimal() and p.is_dir()))
    left_out = [
        Note(there.pop(n).name, "the number is too high for a prompt's folder")
        for n in sorted(there, reverse=True)
        if n >= MOST
    ]
    if not there:
        raise WrongValue(f"{root} holds no folders 00000, 00001, ...; expected {LAYOUT}")
    remarks: list[Note] = []
    stray = None if asked is not None else _stray(there)
    numbers = _limited(there, stray, limit) if asked is None else list(asked)
    entries: dict[int, Entry] = {}
    for number in numbers:
        if number in there:
            entry, missing, unusual = _entry(there[number], samples)
            if entry is not None:
                entries[number] = entry
            left_out += missing
            remarks += unusual
    left_out += _missing(numbers, there)
    if stray is not None and stray in entries and entries[stray].pictures:
        text = "judged, though it looks like a stray: its number is far from the others"
        remarks.insert(0, Note(there[stray].name, text))
    if not any(entry.pictures for entry in entries.values()):
        first = f", for one {left_out[0].id}: {left_out[0].text}" if left_out else ""
        raise WrongValue(f"{root} holds nothing to judge{first}; expected {LAYOUT}")
    tasks, unknown = _tasks(numbers, entries, asked, stray)
    left_out.sort(key=lambda note: note.id)
    every = tuple(entries.values())
    return Folder(root.resolve().name, len(numbers), every, tuple(left_out), tuple(remarks), tasks, unknown)


def _by_number(paths: Sequence[Path]) -> dict[int, Path]:
    """Return the files or folders whose names (without ending) are numbers, by number.

    Raises:
        WrongValue: two of them have the same number, such as 1 and 00001, or 0000.png and 0000.jpg.
    """
    found: dict[int, Path] = {}
    for path in paths:
        if re.fullmatch(r"[0-9]+", path.stem):
            before = found.setdefault(int(path.stem), path)
            if before is not path:
                raise WrongValue(
                    f"{path.parent}: {before.name} and {path.name} have the same number; leave one of them out"
                )
    return found


def _stray(there: Mapping[int, Path]) -> int | None:
    """Return the highest number if it stands alone, farther from the others than there are others; else None."""
    *others, highest = sorted(there)
    if others and highest - others[-1] - 1 > max(FAR, len(others)):
        return highest
    return None


def _limited(there: Mapping[int, Path], stray: int | None, limit: int | None) -> list[int]:
    """Return the numbers to read: all up to the highest, or a fixed random choice of `limit` of them.

    The choice takes nothing of the gap before a stray.
    """
    if limit is None or stray is None:
        return limited_numbers(max(there) + 1, limit)
    before = max(number for number in there if number != stray)
    return limited_numbers([*range(before + 1), stray], limit)


def _missing(numbers: Sequence[int], there: Mapping[int, Path]) -> Iterator[Note]:
    """Yield notes on the numbers without a folder, one note for those between two folders."""
    run: list[int] = []
    for number in [*numbers, None]:
        if number is not None and number not in there:
            run.append(number)
        elif len(run) == 1:
            yield Note(f"{run.pop():05}", "no such folder")
        elif run:
            yield Note(f"{run[0]:05} to {run[-1]:05}", f"no such folders ({len(run)})", len(run))
            run.clear()


def _tasks(
    numbers: Sequence[int],
    entries: Mapping[int, Entry],
    asked: Mapping[int, Mapping[str, Any]] | None,
    stray: int | None,
) -> tuple[dict[str, int], Note | None]:
    """Return how many prompts of each task should be there, and a note on those whose task is not known.

    The task of a prompt that cannot be read is known where it was asked for, or if all others are GenEval's own, which
    have fixed numbers. What is missing before a stray is not missed.
    """
    known = asked
    if known is None:
        official = prompts.official()
        others = [(n, entry.prompt) for n, entry in entries.items() if n != stray]
        if all(n < len(official) and prompt == official[n] for n, prompt in others):
            known = dict(enumerate(official))
    tasks: Counter[str] = Counter()
    unknown: list[int] = []
    before_stray = max((n for n in entries if n != stray), default=0)
    for number in numbers:
        if number in entries:
            tasks[entries[number].prompt["tag"]] += 1
        elif known is not None and number in known:
            tasks[known[number]["tag"]] += 1
        elif stray is None or number < before_stray:
            unknown.append(number)
    note = Note(f"{unknown[0]:05}", "the task is not known", len(unknown)) if unknown else None
    return dict(tasks), note


def _entry(path: Path, samples: int) -> tuple[Entry | None, list[Note], list[Note]]:
    """Read a prompt's folder: its entry (None if it cannot be judged), notes on what is left out, and remarks."""
    try:
        prompt, text = _prompt(path / "metadata.jsonl")
    except WrongValue as error:
        return None, [Note(path.name, str(error))], []
    inside = path / "samples"
    files = sorted(inside.iterdir()) if inside.is_dir() else []
    images = [p for p in files if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file()]
    numbered = sorted(_by_number(images).values())
    pictures = tuple(Sample(f"{path.name}/{p.stem}", p, prompt["prompt"], metadata=text) for p in numbered)
    left_out, remarks = [], []
    if len(pictures) < samples:
        why = "" if inside.is_dir() else "no folder samples, which holds the pictures; "
        left_out.append(Note(path.name, f"{why}{len(pictures)} of {samples} samples"))
    elif len(pictures) > samples:
        remarks.append(Note(path.name, f"{len(pictures)} samples instead of {samples}; all are judged"))
    endings = sorted({p.suffix for p in numbered} - {".png"})
    if endings:
        remarks.append(
            Note(path.name, f"samples are {', '.join(endings)} files; the official program reads .png alone")
        )
    read = set(numbered)
    others = [p.name for p in files if p not in read and not p.name.startswith(".")]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        remarks.append(Note(path.name, f"not read: samples/{others[0]}{more}; the layout has numbered pictures"))
    return Entry(path.name, prompt, pictures), left_out, remarks


def _prompt(path: Path) -> tuple[dict[str, Any], str]:
    """Read a prompt's metadata; return it, and as one line of JSON.

    Raises:
        WrongValue: there is no such file, or it holds no prompt; the message says what is wrong.
    """
    try:
        prompt = outside_text.from_json(outside_text.read(path, path.name), path.name)
    except MissingFile as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise WrongValue(f"no {path.name}" if missing else str(error)) from error
    fault = prompts.fault(prompt)
    if fault:
        raise WrongValue(f"{path.name}: {fault}")
    return prompt, json.dumps(prompt)


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
