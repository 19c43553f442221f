"""Turn verdicts into scores: per task, overall, and the share of prompts with a correct image.

The scores follow djghosh13/geneval @ af4902f, evaluation/summary_scores.py. Nothing is counted as wrong because it is
missing: a sample that is missing or cannot be read is left out of every mean and named in the result. The other samples
of its prompt count; a prompt without any sample is left out. A task without any prompt that is left has no score, nor
has "overall" then. With `--strict` the command then ends with exit code 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lactok.errors import first_few


@dataclass(frozen=True)
class Scored:
    """The verdict on one image.

    Attributes:
        tag: the task of its prompt.
        prompt: a text that differs between prompts: the metadata as text, as in the official code, or the folder.
        correct: whether the image shows what the prompt asks for.
    """

    tag: str
    prompt: str
    correct: bool


def by_tag(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Group verdicts by task, in the order in which the tasks come."""
    groups: dict[str, list[Scored]] = {}
    for verdict in scored:
        groups.setdefault(verdict.tag, []).append(verdict)
    return groups


def by_prompt(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Group verdicts by prompt, in the order in which the prompts come."""
    groups: dict[str, list[Scored]] = {}
    for verdict in scored:
        groups.setdefault(verdict.prompt, []).append(verdict)
    return groups


def scores(scored: Sequence[Scored]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute all scores with their 95 % bootstrap intervals.

    The bootstrap resamples prompts, so that the samples of one prompt stay together.

    Returns:
        The scores of the tasks by tag, each the share of correct images; and the scores over all tasks: "overall", the
        unweighted mean of the tasks' scores, "per_image", the share of correct images, and "prompts", the share of
        prompts with at least one correct image. A score is {"value", "ci95": [low, high], "n"}, a task's also has the
        number of its "prompts". Without any image the value is None.
    """
    from lactok.evaluation.statistics import clustered_mean, mean_with_interval

    tasks = {}
    clusters_of_tasks = []
    for tag, group in by_tag(scored).items():
        clusters = _clusters(group)
        clusters_of_tasks.append(clusters)
        tasks[tag] = _entry(clustered_mean([clusters]), len(group)) | {"prompts": len(clusters[0])}
    everything = [_clusters(scored)] if scored else []
    any_correct = [any(verdict.correct for verdict in group) for group in by_prompt(scored).values()]
    over_all_tasks = {
        "overall": _entry(clustered_mean(clusters_of_tasks), len(scored)),
        "per_image": _entry(clustered_mean(everything), len(scored)),
        "prompts": _entry(mean_with_interval(np.array(any_correct, np.float64)), len(any_correct)),
    }
    return tasks, over_all_tasks


def without_lost_tasks(
    tasks: dict[str, Any], over_all_tasks: dict[str, Any], asked: Mapping[str, int], unknown: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add the tasks of which no picture could be judged, without a score; "overall" is then empty and says why.

    The mean of the other tasks is another number, which must not be taken for the one that was asked for.

    Args:
        tasks, over_all_tasks: what `scores` returns.
        asked: the number of prompts that were asked for by task.
        unknown: which prompts are left out of which not even the task is known, as a sentence; "" for none.
    """
    lost = {tag: count for tag, count in asked.items() if tag not in tasks}
    empty: dict[str, Any] = {"value": None, "ci95": None, "n": 0, "prompts": 0}
    entries = dict(tasks)
    for tag, count in lost.items():
        entries[tag] = empty | {"reason": f"no picture of its {count} prompt{'s' if count > 1 else ''} can be judged"}
    why = ""
    if lost:
        names = first_few(list(lost))
        why = f"it would be the mean of {len(tasks)} of {len(entries)} tasks, without {names}"
    elif unknown:
        measured = f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}"
        why = f"{unknown}, and may be one that the mean of {measured} would lack"
    if not why:
        return entries, over_all_tasks
    overall = over_all_tasks["overall"] | {"value": None, "ci95": None, "reason": why}
    return entries, over_all_tasks | {"overall": overall}


def _clusters(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of correct images and the number of images per prompt, both (prompts,)."""
    groups = by_prompt(scored).values()
    correct = [_count_correct(group) for group in groups]
    return np.array(correct), np.array([len(group) for group in groups])


def _count_correct(scored: Sequence[Scored]) -> int:
    """Return how many of the verdicts are "correct"."""
    return sum(verdict.correct for verdict in scored)


def _entry(estimate: tuple[float | None, list[float] | None], n: int) -> dict[str, Any]:
    """Return a score as a result holds it, from its value with the interval."""
    value, interval = estimate
    return {"value": value, "ci95": interval, "n": n}


def official_page(scored: Sequence[Scored]) -> str:
    """Return the summary that the official program prints, in its words."""
    tasks, over_all_tasks = scores(scored)
    groups = by_tag(scored)
    lines = [
        "Summary",
        "=======",
        f"Total images: {len(scored)}",
        f"Total prompts: {over_all_tasks['prompts']['n']}",
        f"% correct images: {over_all_tasks['per_image']['value']:.2%}",
        f"% correct prompts: {over_all_tasks['prompts']['value']:.2%}",
        "",
        "Task breakdown",
        "==============",
    ]
    for tag, entry in tasks.items():
        lines.append(f"{tag:<16} = {entry['value']:.2%} ({_count_correct(groups[tag])} / {entry['n']})")
    lines += ["", f"Overall score (avg. over tasks): {over_all_tasks['overall']['value']:.5f}"]
    return "\n".join(lines) + "\n"
