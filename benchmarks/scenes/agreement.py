"""How often GenEval's verdict by a detector agrees with the truth of composed scenes.

As a control, the scenes are also scored against captions of other scenes: the detector should give them the score that
their true objects get by chance.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes.folder import Truth
from benchmarks.scenes.tasks import Metadata
from lactok.errors import disk_errors
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from PIL import Image

# the agreement that a judge should reach, by task
GOALS = {
    "single_object": 0.95,
    "two_object": 0.90,
    "counting": 0.95,
    "colors": 0.95,
    "position": 0.90,
    "color_attr": 0.90,
}
K = TypeVar("K", Path, str)
SHUFFLES = 10  # how many times the captions are exchanged between scenes

# (caption, detections, the colour of each detection) -> (whether the picture is correct, the reason if it is not)
Score = Callable[[Metadata, Sequence[Detection], Sequence[str]], tuple[bool, str]]


def geneval_score(spec: JudgeSpec) -> Score:
    """Return GenEval's scorer with a detector's thresholds."""
    from benchmarks.geneval import scorer

    options = scorer.Options(spec.threshold, spec.counting_threshold)

    def score(caption: Metadata, found: Sequence[Detection], colours: Sequence[str]) -> tuple[bool, str]:
        colour_by_id = {id(detection): colour for detection, colour in zip(found, colours, strict=True)}

        def classify(name: str, detections: Sequence[Detection]) -> list[str]:
            return [colour_by_id[id(d)] for d in detections]

        verdict = scorer.score(caption, found, classify, options)
        return verdict.correct, verdict.reason

    return score


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture after it was judged.

    Attributes:
        truth: what the picture shows.
        found: the detections.
        colours: the colour of each detection, in the same order.
    """

    truth: Truth
    found: Sequence[Detection]
    colours: Sequence[str]


def judge(
    truths: Sequence[Truth],
    detector: Detector,
    colours: ColourClassifier,
    report: Callable[[int, int], None],
    known: Mapping[Path, Sequence[Detection]] | None = None,
) -> list[Judged]:
    """Detect the objects of each picture and classify their colours.

    Args:
        truths: the pictures.
        detector: detections above the lower of its two thresholds are kept.
        colours: the colour classifier.
        report: called with the number of pictures done and of all pictures.
        known: detections that were made before, by the picture's path; the detector looks at the other pictures.
    """
    from PIL import Image

    judged = []
    for number, truth in enumerate(truths, 1):
        with Image.open(truth.picture) as file:
            image = file.convert("RGB")
        made = (known or {}).get(truth.picture.resolve())
        judged.append(Judged(truth, *look(image, detector, colours, made)))
        report(number, len(truths))
    return judged


def look(
    image: Image.Image, detector: Detector, colours: ColourClassifier, known: Sequence[Detection] | None = None
) -> tuple[list[Detection], list[str]]:
    """Return the objects that a detector finds in an RGB image above its thresholds, and the colour of each.

    Args:
        image: the picture.
        detector: the detector.
        colours: the colour classifier.
        known: what the detector found before, if it did.
    """
    floor = min(detector.spec.threshold, detector.spec.counting_threshold)
    found = [d for d in (detector.detect(image) if known is None else known) if d.score > floor]
    colour_by_id: dict[int, str] = {}
    for name in {d.name for d in found}:  # a classifier gets the objects of one name at a time, as in GenEval
        of_name = [d for d in found if d.name == name]
        for detection, colour in zip(of_name, colours.classify(image, of_name), strict=True):
            colour_by_id[id(detection)] = colour
    return found, [colour_by_id[id(d)] for d in found]


def summarize(judged: Sequence[Judged], score: Score, seed: int = 0) -> dict[str, Any]:
    """Compare verdicts and truth, task by task.

    Args:
        judged: the judged pictures.
        score: gives the verdict on a picture.
        seed: determines which captions are exchanged.

    Returns:
        {"pictures": their number, "seed", "tasks": by name, "overall": the mean over the tasks}. A task holds the
        `agreement` of verdict and truth, its `goal`, the number `n` of pictures, the `confusion` matrix, the `errors`
        by kind, GenEval's `score` and the `true` one, and the control: the score with captions of other scenes
        (`shuffled`) and what the true objects get with the same captions (`chance`).
    """
    tasks = {}
    for task in TASKS:
        of_task = [j for j in judged if j.truth.caption["tag"] == task]
        if of_task:
            tasks[task] = {"goal": GOALS[task]} | _against_truth(of_task, score) | _shuffled(of_task, score, seed)
    keys = ("agreement", "score", "true", "shuffled", "chance")
    overall = {key: mean([t[key] for t in tasks.values() if t[key] is not None]) for key in keys}
    return {"pictures": len(judged), "seed": seed, "tasks": tasks, "overall": overall}


def _against_truth(judged: Sequence[Judged], score: Score) -> dict[str, Any]:
    """Return the counts and shares of one task's verdicts, as `summarize` describes them."""
    confusion = {"holds": {"correct": 0, "incorrect": 0}, "broken": {"correct": 0, "incorrect": 0}}
    errors: Counter[str] = Counter()
    for j in judged:
        correct, reason = score(j.truth.caption, j.found, j.colours)
        caption = "holds" if j.truth.holds else "broken"
        verdict = "correct" if correct else "incorrect"
        confusion[caption][verdict] += 1
        if j.truth.holds and not correct:
            errors[f"refused: {clause_of(reason)}"] += 1
        elif correct and j.truth.violation is not None:
            errors[f"not seen: {j.truth.violation.kind}"] += 1
    right = confusion["holds"]["correct"] + confusion["broken"]["incorrect"]
    return {
        "n": len(judged),
        "agreement": right / len(judged),
        "confusion": confusion,
        "errors": dict(errors),
        "score": (confusion["holds"]["correct"] + confusion["broken"]["correct"]) / len(judged),
        "true": sum(confusion["holds"].values()) / len(judged),
    }


def clause_of(reason: str) -> str:
    """Return the kind of clause that a picture failed first, read from the scorer's reason.

    >>> clause_of("expected cup>=2, found 1"), clause_of("expected red cup>=1, found 0 red; and 1 blue")
    ('too few', 'colour')
    """
    first = reason.partition("\n")[0]
    if " target" in first:
        return "position"
    if "; and " in first:
        return "colour"
    return "too few" if ">=" in first else "too many"


def exchanges(captions: Mapping[K, Metadata], seed: int) -> Iterator[dict[K, Metadata]]:
    """Yield `SHUFFLES` times the captions of one task's folders, exchanged so that none keeps its own.

    There is nothing to yield of one folder alone, which has no other caption to get.
    """
    folders = sorted(captions)
    if len(folders) == 1:
        return
    rng = np.random.default_rng(seed_of(seed, "shuffled", captions[folders[0]]["tag"]))
    for _ in range(SHUFFLES):
        # each folder gets the caption of the one before it in a random ring
        order = rng.permutation(len(folders))
        pairs = zip(order, np.roll(order, 1), strict=True)
        yield {folders[own]: captions[folders[other]] for own, other in pairs}


def _shuffled(judged: Sequence[Judged], score: Score, seed: int) -> dict[str, float | None]:
    """Return the mean score of one task's pictures with captions of other folders, by the judge and by the truth.

    Both are None where there is one folder alone, which has no other caption to get.
    """
    captions = {j.truth.picture.parent.parent: j.truth.caption for j in judged}
    by_judge: list[float] = []
    by_truth: list[float] = []
    for exchanged in exchanges(captions, seed):
        for j in judged:
            caption = exchanged[j.truth.picture.parent.parent]
            by_judge.append(score(caption, j.found, j.colours)[0])
            by_truth.append(score(caption, j.truth.objects, j.truth.colours)[0])
    return {"shuffled": mean(by_judge), "chance": mean(by_truth)}


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None where there is no value."""
    return float(np.mean(values)) if values else None


def report_agreement(
    scenes: Path,
    detector: type[Detector],
    colours: type[ColourClassifier],
    device: str,
    seed: int = 0,
    out: Path | None = None,
    known: Mapping[Path, Sequence[Detection]] | None = None,
) -> None:
    """Judge the pictures of a folder that `make` wrote, print the agreement as a table and write it as JSON.

    Args:
        scenes: the folder.
        detector: the class of the detector.
        colours: the class of the colour classifier.
        device: where both compute.
        seed: determines which captions are exchanged.
        out: the JSON file; None for agreement.json in the folder.
        known: as of `judge`; then these pictures alone are looked at.
    """
    from benchmarks.scenes import folder
    from lactok.evaluation.progress import progress
    from lactok.evaluation.terminal import fitted
    from lactok.files import write_atomically

    truths = [truth for truth in folder.read(scenes) if known is None or truth.picture.resolve() in known]
    with progress("pictures", len(truths), "pictures") as report:
        judged = judge(truths, detector(device), colours(device), report, known)
    summary = summarize(judged, geneval_score(detector.spec), seed)
    out = out or scenes / "agreement.json"
    with disk_errors(out):
        write_atomically(out, f"{json.dumps(summary, indent=1)}\n".encode())
    print(fitted(table(summary)))
    print(f"written: {out}")


def table(summary: Mapping[str, Any]) -> str:
    """Return what `summarize` returned as a Markdown table, a line for each task."""
    from tabulate import tabulate

    rows = []
    for task, t in [*summary["tasks"].items(), ("overall", summary["overall"])]:
        confusion = t.get("confusion", {"holds": {}, "broken": {}})  # there is none of the mean over the tasks
        cells = []
        for caption in ("holds", "broken"):
            cells += [confusion[caption].get("correct", ""), confusion[caption].get("incorrect", "")]
        shares = [percent(t.get(key)) for key in ("agreement", "goal", "score", "true", "shuffled", "chance")]
        errors = ", ".join(f"{n} {what}" for what, n in t.get("errors", {}).items())
        rows.append([task, t.get("n", summary["pictures"]), *shares[:2], *cells, *shares[2:], errors])
    head = [
        "task",
        "n",
        "agreement",
        "goal",
        "holds: correct",
        "incorrect",
        "broken: correct",
        "incorrect",
        "score",
        "true",
        "shuffled",
        "chance",
        "errors",
    ]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 as "12.3 %", or "" for None."""
    return "" if share is None else f"{100 * share:.1f} %"
