"""Does GenEval's verdict by a detector agree with the truth, and do captions of other scenes get what chance gives?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes.folder import Truth
from benchmarks.scenes.tasks import Metadata
from lactok.errors import disk_errors
from lactok.randomness import seed_of

GOALS = {
    "single_object": 0.95,
    "two_object": 0.90,
    "counting": 0.95,
    "colors": 0.95,
    "position": 0.90,
    "color_attr": 0.90,
}
SHUFFLES = 10  # times that captions are dealt to the scenes of other captions

# a caption, what was found, and the colour of each detection by its index -> correct, and the reasons if not
Score = Callable[[Metadata, Sequence[Detection], Sequence[str]], tuple[bool, str]]


def geneval(spec: JudgeSpec) -> Score:
    """GenEval's scorer at a detector's thresholds."""
    from benchmarks.geneval import scorer

    options = scorer.Options(spec.threshold, spec.counting_threshold)

    def score(caption: Metadata, found: Sequence[Detection], colours: Sequence[str]) -> tuple[bool, str]:
        told = {id(detection): colour for detection, colour in zip(found, colours, strict=True)}
        verdict = scorer.score(caption, found, lambda _name, asked: [told[id(d)] for d in asked], options)
        return verdict.correct, verdict.reason

    return score


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture's truth, and what the judge found with its colours."""

    truth: Truth
    found: Sequence[Detection]
    colours: Sequence[str]


def judge(
    truths: Sequence[Truth], detector: Detector, colours: ColourClassifier, report: Callable[[int, int], None]
) -> list[Judged]:
    """Detections above the lower of the detector's thresholds, and all their colours."""
    from PIL import Image

    floor = min(detector.spec.threshold, detector.spec.counting_threshold)
    out = []
    for number, truth in enumerate(truths, 1):
        with Image.open(truth.picture) as file:
            image = file.convert("RGB")
        found = [d for d in detector.detect(image) if d.score > floor]
        told: dict[int, str] = {}
        for name in {d.name for d in found}:
            of_name = [d for d in found if d.name == name]
            told |= {id(d): c for d, c in zip(of_name, colours.classify(image, of_name), strict=True)}
        out.append(Judged(truth, found, [told[id(d)] for d in found]))
        report(number, len(truths))
    return out


def figures(judged: Sequence[Judged], score: Score, seed: int = 0) -> dict[str, Any]:
    """By task: `agreement` of verdict and truth with its `goal`, the `confusion`, the `errors` by clause, GenEval's
    `score` beside the `true` one, and `shuffled`: the score with captions of other scenes beside what `chance` gives,
    the true objects scored against the same captions. `overall` is the mean over the tasks.
    """
    tasks = {}
    for task in TASKS:
        of_task = [j for j in judged if j.truth.caption["tag"] == task]
        if of_task:
            tasks[task] = {"goal": GOALS[task]} | _against_truth(of_task, score) | _shuffled(of_task, score, seed)
    keys = ("agreement", "score", "true", "shuffled", "chance")
    overall = {key: _mean([t[key] for t in tasks.values() if t[key] is not None]) for key in keys}
    return {"pictures": len(judged), "seed": seed, "tasks": tasks, "overall": overall}


def _against_truth(judged: Sequence[Judged], score: Score) -> dict[str, Any]:
    confusion = {"holds": {"correct": 0, "incorrect": 0}, "broken": {"correct": 0, "incorrect": 0}}
    errors: Counter[str] = Counter()
    for j in judged:
        correct, reason = score(j.truth.caption, j.found, j.colours)
        confusion["holds" if j.truth.holds else "broken"]["correct" if correct else "incorrect"] += 1
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
    """Which kind of clause a verdict failed first, by the scorer's words.

    >>> clause_of("expected cup>=2, found 1"), clause_of("expected red cup>=1, found 0 red; and 1 blue")
    ('too few', 'colour')
    """
    first = reason.partition("\n")[0]
    if " target" in first:
        return "position"
    if "; and " in first:
        return "colour"
    return "too few" if ">=" in first else "too many"


def _shuffled(judged: Sequence[Judged], score: Score, seed: int) -> dict[str, float | None]:
    folders = sorted({j.truth.picture.parent.parent for j in judged})
    captions = {j.truth.picture.parent.parent: j.truth.caption for j in judged}
    if len(folders) == 1:
        return {"shuffled": None, "chance": None}
    rng = np.random.default_rng(seed_of(seed, "shuffled", captions[folders[0]]["tag"]))
    by_judge, by_truth = [], []
    for _ in range(SHUFFLES):
        order = rng.permutation(len(folders))  # each folder gets the caption of the next one in a random ring
        dealt = {folders[a]: captions[folders[b]] for a, b in zip(order, np.roll(order, 1), strict=True)}
        for j in judged:
            caption = dealt[j.truth.picture.parent.parent]
            by_judge.append(score(caption, j.found, j.colours)[0])
            by_truth.append(score(caption, j.truth.objects, j.truth.colours)[0])
    return {"shuffled": _mean(by_judge), "chance": _mean(by_truth)}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def report_agreement(
    scenes: Path,
    detector: type[Detector],
    colours: type[ColourClassifier],
    device: str,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Judge a folder that `make` wrote, print the table and write the figures (to DIR/agreement.json)."""
    from benchmarks.scenes import folder
    from lactok.evaluation.progress import progress
    from lactok.evaluation.store import write_atomically

    truths = list(folder.read(scenes))
    with progress("pictures", len(truths), "pictures") as report:
        judged = judge(truths, detector(device), colours(device), report)
    found = figures(judged, geneval(detector.spec), seed)
    out = out or scenes / "agreement.json"
    with disk_errors(out):
        write_atomically(out, f"{json.dumps(found, indent=1)}\n".encode())
    print(table(found))
    print(f"written: {out}")


def table(found: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    from tabulate import tabulate

    rows = []
    for task, t in [*found["tasks"].items(), ("overall", found["overall"])]:
        confusion = t.get("confusion", {"holds": {}, "broken": {}})
        cells = [confusion[a].get(b, "") for a in ("holds", "broken") for b in ("correct", "incorrect")]
        shares = [_percent(t.get(key)) for key in ("agreement", "goal", "score", "true", "shuffled", "chance")]
        errors = ", ".join(f"{n} {what}" for what, n in t.get("errors", {}).items())
        rows.append([task, t.get("n", found["pictures"]), *shares[:2], *cells, *shares[2:], errors])
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


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
