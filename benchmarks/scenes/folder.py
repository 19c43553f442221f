"""Scenes on disk: pictures in GenEval's layout, and beside them what they show.

DIR/00000/metadata.jsonl      one line: the caption and what GenEval checks
DIR/00000/samples/0000.png    a picture for the caption
DIR/00000/truth.jsonl         a line for each picture: its objects, and whether the caption holds
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
from benchmarks.scenes.tasks import Metadata, Violation, metadata, plan_scene
from lactok import outside_text
from lactok.errors import UserError, disk_errors
from lactok.files import write_atomically
from lactok.outside_text import json_object, lines
from lactok.randomness import seed_of

BROKEN = 1 / 3  # share of scenes that break their caption


def caption_of(seed: int, number: int) -> Metadata:
    """Return the caption of folder `number`; the tasks take turns."""
    return metadata(TASKS[number % len(TASKS)], np.random.default_rng(seed_of(seed, "caption", number)))


def scene_of(caption: Metadata, seed: int, number: int, sample: int, broken: float) -> tuple[Scene, Violation | None]:
    """Compose picture `sample` of folder `number`; with the probability `broken` it breaks its caption.

    Returns:
        The scene, and how it breaks its caption, or None where the caption holds.
    """
    rng = np.random.default_rng(seed_of(seed, "shown", number, sample))
    plan, violation = plan_scene(caption, bool(rng.random() < broken), rng)
    return compose(plan, seed_of(seed, "picture", number, sample)), violation


def make(
    out: Path,
    count: int,
    samples: int,
    seed: int,
    broken: float = BROKEN,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Write scenes in GenEval's layout; the same arguments write the same bytes.

    Args:
        out: the folder; a file that exists is written again.
        count: how many captions.
        samples: how many pictures of each caption.
        seed: determines everything.
        broken: the share of pictures that break their caption, 0 to 1.
        report: called with the number of captions done and of all captions.
    """
    with disk_errors(out):
        for number in range(count):
            folder = out / f"{number:05}"
            caption = caption_of(seed, number)
            lines = []
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
    """Return the line of truth.jsonl for the picture named `sample`, as JSON holds it."""
    objects = [
        {"class": w.name, "color": w.color, "box": list(scene.box(i)), "mask": run_lengths(scene.mask(i))}
        for i, w in enumerate(scene.objects)
    ]
    broken = None if violation is None else dataclasses.asdict(violation)
    return {"sample": sample, "holds": violation is None, "violation": broken, "objects": objects}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask (H, W) in COCO's uncompressed run-length encoding: runs of 0 and 1 in turn, column by column.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def mask_of(encoded: dict[str, Any]) -> np.ndarray:
    """Return the mask, (H, W) bool, that `run_lengths` encoded."""
    height, width = encoded["size"]
    values = np.arange(len(encoded["counts"])) % 2 == 1
    return np.repeat(values, encoded["counts"]).reshape(width, height).T


@dataclass(frozen=True, eq=False)
class Truth:
    """A picture on disk with what is known about it.

    Attributes:
        picture: the path of the PNG file.
        caption: what it should show, in GenEval's format.
        objects: its objects as a perfect detector would find them.
        colours: the colour of each object, in the same order.
        holds: whether the caption is true of the picture.
        violation: how the picture breaks its caption, None where the caption holds.
    """

    picture: Path
    caption: Metadata
    objects: tuple[Detection, ...]
    colours: tuple[str, ...]
    holds: bool
    violation: Violation | None


def read(folder: Path) -> Iterator[Truth]:
    """Yield all pictures of a folder that `make` wrote, in order.

    Raises:
        UserError: the folder holds no scenes, or a file of it is damaged.
    """
    captions = sorted(folder.glob("*/truth.jsonl"))
    if not captions:
        raise UserError(f"{folder} has no scenes; make some with `python -m benchmarks.scenes make --out {folder}`")
    for path in captions:
        try:
            metadata = path.with_name("metadata.jsonl")
            caption = json_object(outside_text.read(metadata), str(metadata))
            for where, line in lines(outside_text.read(path), str(path)):
                yield _truth(path.parent, caption, json_object(line, where))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path.parent} is damaged ({error!r}); make it again") from error


def _truth(folder: Path, caption: Metadata, record: dict[str, Any]) -> Truth:
    """Return the truth of a picture from its line of truth.jsonl."""
    masks = [mask_of(o["mask"]) for o in record["objects"]]
    objects = tuple(
        Detection(o["class"], 1.0, box_of(mask), mask) for o, mask in zip(record["objects"], masks, strict=True)
    )
    colours = tuple(o["color"] for o in record["objects"])
    violation = Violation(**record["violation"]) if record["violation"] else None
    return Truth(folder / "samples" / f"{record['sample']}.png", caption, objects, colours, record["holds"], violation)
