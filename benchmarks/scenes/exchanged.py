"""What pictures of generators get with captions of other scenes: the control that they show what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector
from benchmarks.geneval.folder import Entry, open_picture
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes.agreement import exchanges, geneval_score, look, mean, percent
from lactok.images import UnreadableImage

Shares = dict[str, "float | None"]  # of pictures, by task and "overall", the mean over the tasks


def score(
    entries: Sequence[Entry],
    detector: Detector,
    colours: ColourClassifier,
    known: Mapping[Path, Sequence[Detection]],
    seed: int = 0,
) -> Shares:
    """Return the share of pictures that show what the caption of another scene of the same task asks for.

    Args:
        entries: the pictures, caption by caption; one that cannot be read is passed over.
        detector, colours: the judges.
        known: detections that were made before, by the picture's path.
        seed: determines which captions are exchanged.

    Returns:
        The shares; None for a task with one caption alone.
    """
    judge = geneval_score(detector.spec)
    found: Shares = {}
    for task in TASKS:
        of_task = [entry for entry in entries if entry.prompt["tag"] == task]
        if not of_task:
            continue
        captions = {entry.id: entry.prompt for entry in of_task}
        seen = []
        for entry in of_task:
            for picture in entry.pictures:
                try:
                    image, _ = open_picture(picture)
                except UnreadableImage:
                    continue
                seen.append((entry.id, *look(image, detector, colours, known.get(picture.path.resolve()))))
        others = exchanges(captions, seed)
        found[task] = mean([judge(other[of], boxes, names)[0] for other in others for of, boxes, names in seen])
    return found | {"overall": mean([share for share in found.values() if share is not None])}


def table(shares: Mapping[str, Shares]) -> str:
    """Return the shares of generators, by their names, as a Markdown table."""
    from tabulate import tabulate

    columns = list(next(iter(shares.values())))
    rows = [[name, *(percent(found[column]) for column in columns)] for name, found in shares.items()]
    return tabulate(rows, ["captions of other scenes", *columns], tablefmt="github", disable_numparse=True)
