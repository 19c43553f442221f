"""Scenes on disk in GenEval's layout, and their truth beside them.

DIR/00000/metadata.jsonl      the caption and what is checked, one line
DIR/00000/samples/0000.png    a picture for it
DIR/00000/truth.jsonl         a line a picture: what is there, and whether the caption holds
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.geneval.detectors import Detection
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes.compose import Scene, box_of, compose
from benchmarks.scenes.tasks import Metadata, Violation, metadata, shown
from lactok.errors import UserError, disk_errors
from lactok.evaluation.store import write_atomically
from lactok.randomness import seed_of

BROKEN = 1 / 3  # share of scenes that break their caption


def caption_of(seed: int, number: int) -> Metadata:
    """The caption of a folder; the tasks take turns."""
    return metadata(TASKS[number % len(TASKS)], np.random.default_rng(seed_of(seed, "caption", number)))


def scene_of(caption: Metadata, seed: int, number: int, sample: int, broken: float) -> tuple[Scene, Violation | None]:
    """A picture of a folder, and how it breaks its caption, if it does."""
    rng = np.random.default_rng(seed_of(seed, "shown", number, sample))
    plan = shown(caption, bool(rng.random() < broken), rng)
    return compose(plan.plan, seed_of(seed, "picture", number, sample)), plan.violation


def make(
    out: Path,
    count: int,
    samples: int,
    seed: int,
    broken: float = BROKEN,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Write `count` captions with `samples` pictures each; what is there already is written again, the same."""
    with disk_errors(out):
        for number in range(count):
            folder, caption, lines = out / f"{number:05}", caption_of(seed, number), []
            for sample in range(samples):
                scene, violation = scene_of(caption, seed, number, sample, broken)
                data = io.BytesIO()
                Image.fromarray(scene.image).save(data, "PNG")
                write_atomically(folder / "samples" / f"{sample:04}.png", data.getvalue())
                lines.append(json.dumps(truth_record(f"{sample:04}", scene, violation)))
            write_atomically(folder / "truth.jsonl", "".join(f"{line}\n" for line in lines).encode())
            write_atomically(folder / "metadata.jsonl", f"{json.dumps(caption)}\n".encode())
            if report is not None:
                report(number + 1, count)


def truth_record(sample: str, scene: Scene, violation: Violation | None) -> dict[str, Any]:
    objects = [
        {"class": w.name, "color": w.color, "box": list(scene.box(i)), "mask": run_lengths(scene.mask(i))}
        for i, w in enumerate(scene.objects)
    ]
    broken = None if violation is None else dataclasses.asdict(violation)
    return {"sample": sample, "holds": violation is None, "violation": broken, "objects": objects}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run-length encoding: runs of 0 and 1 in turn, column by column.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def mask_of(encoded: dict[str, Any]) -> np.ndarray:
    """The (H, W) bool mask of `run_lengths`."""
    height, width = encoded["size"]
    values = np.arange(len(encoded["counts"])) % 2 == 1
    return np.repeat(values, encoded["counts"]).reshape(width, height).T


@dataclass(frozen=True, eq=False)
class Truth:
    """A picture on disk with what is known about it.

    Attributes:
        objects: as a detector without a fault would find them.
        colours: of each object, by the id of its detection.
        holds: the caption is true of the picture.
    """

    picture: Path
    caption: Metadata
    objects: tuple[Detection, ...]
    colours: tuple[str, ...]
    holds: bool
    violation: Violation | None


def read(folder: Path) -> Iterator[Truth]:
    """All pictures of a folder that `make` wrote.

    Raises:
        UserError: not such a folder, or a damaged one.
    """
    captions = sorted(folder.glob("*/truth.jsonl"))
    if not captions:
        raise UserError(f"{folder} has no scenes; make some with `python -m benchmarks.scenes make --out {folder}`")
    for path in captions:
        try:
            caption = json.loads((path.parent / "metadata.jsonl").read_text())
            for line in path.read_text().splitlines():
                yield _truth(path.parent, caption, json.loads(line))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path.parent} is damaged ({error!r}); make it again") from error


def _truth(folder: Path, caption: Metadata, record: dict[str, Any]) -> Truth:
    masks = [mask_of(o["mask"]) for o in record["objects"]]
    objects = tuple(
        Detection(o["class"], 1.0, box_of(mask), mask) for o, mask in zip(record["objects"], masks, strict=True)
    )
    colours = tuple(o["color"] for o in record["objects"])
    violation = Violation(**record["violation"]) if record["violation"] else None
    return Truth(folder / "samples" / f"{record['sample']}.png", caption, objects, colours, record["holds"], violation)
