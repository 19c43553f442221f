"""How long a generator's pictures took, added up over interrupted runs and over the parts of a run.

`times/<I>-of-<N>.json` in the folder of the pictures holds what part I of N timed, by the device that it ran on. Each
part writes its own file, so that parts on several machines do not meet. A run that was killed leaves nothing here; its
pictures then count neither in the seconds nor in the images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lactok.device import device_name
from lactok.evaluation.config import Run
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import to_json
from lactok.files import tidy, write_atomically

FOLDER = "times"


@dataclass(frozen=True)
class Place:
    """What the seconds of a picture depend on besides the generator.

    Attributes:
        device: the device's name, such as "NVIDIA H200", or "cpu".
        threads: threads of each process.
        batch_size: the number of pictures that are made at a time.
    """

    device: str
    threads: int
    batch_size: int


def place_of(run: Run, batch_size: int) -> Place:
    """Return the place where a run computes so many pictures at a time."""
    device = device_name(run.device) if run.device_kind == "cuda" else run.device
    return Place(device, run.threads, batch_size)


def add(folder: Path, run: Run, part: tuple[int, int], timer: Timer, batch_size: int) -> None:
    """Add the times of a run's part to what is known of it; nothing where it made no picture.

    Args:
        folder: the folder of the pictures.
        run: says where it computed.
        part: (I, N), I counted from 0.
        timer: the times of this call alone.
        batch_size: the number of pictures that are made at a time.
    """
    tidy(folder / FOLDER)  # of what a killed run left
    if not timer.images:
        return
    path = folder / FOLDER / f"{part[0] + 1}-of-{part[1]}.json"
    known = dict(_read(path))
    known.setdefault(place_of(run, batch_size), Timer()).add(timer)
    write_atomically(path, to_json([_as_data(place, times) for place, times in known.items()]))


def total(folder: Path) -> list[tuple[Place, Timer]]:
    """Return the times of all parts by the place where they computed, the place of most pictures first."""
    found: dict[Place, Timer] = {}
    for path in sorted((folder / FOLDER).glob("*-of-*.json")):
        for place, times in _read(path):
            found.setdefault(place, Timer()).add(times)
    return sorted(found.items(), key=lambda entry: (-sum(entry[1].images.values()), entry[0].device))


def _as_data(place: Place, times: Timer) -> dict[str, Any]:
    seconds = {"wall": dict(times.wall), "cpu": dict(times.cpu)}
    return vars(place) | {"seconds": seconds, "images": dict(times.images)}


def _read(path: Path) -> Iterator[tuple[Place, Timer]]:
    """Yield what a file holds; nothing of a file that is not there or is damaged: times are no results."""
    try:
        entries = json.loads(path.read_text())
        for entry in entries:
            times = Timer()
            for kind in ("wall", "cpu"):
                getattr(times, kind).update({str(k): float(v) for k, v in entry["seconds"][kind].items()})
            times.images.update({str(k): int(v) for k, v in entry["images"].items()})
            yield Place(str(entry["device"]), int(entry["threads"]), int(entry["batch_size"])), times
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
