"""From verdicts to scores: a task's, the overall one, the share of prompts; as evaluation/summary_scores.py.

djghosh13/geneval @ af4902f. The rule for what is not there: a sample that is missing or cannot be read is left out of
every mean and named in the result; the other samples of its prompt count, and a prompt without any sample is left out.
Nothing is counted as wrong because it is missing. `--strict` ends with exit code 3 where anything was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scored:
    """One image's verdict.

    Attributes:
        prompt: what tells one prompt from another: its metadata as text, as in the official code, or its folder.
    """

    tag: str
    prompt: str
    correct: bool


def by_tag(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Tags in the order in which they come."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(one.tag, []).append(one)
    return groups


def by_prompt(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(one.prompt, []).append(one)
    return groups


def scores(scored: Sequence[Scored]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All scores with their 95 % intervals; prompts are resampled, so that a prompt's samples stay together.

    Returns:
        By task the share of correct images; and of all tasks `overall`, the unweighted mean over tasks of these,
        `per_image`, the share of correct images, and `prompts`, the share of prompts with a correct image. Each is
        {value, ci95, n}; tasks have the number of their prompts too. Values are None without any image.
    """
    from lactok.evaluation.statistics import clustered_mean, mean_with_interval

    tasks, clusters = {}, []
    for tag, group in by_tag(scored).items():
        clusters.append(_clusters(group))
        tasks[tag] = _entry(clustered_mean(clusters[-1:]), len(group)) | {"prompts": len(clusters[-1][0])}
    everything = [_clusters(scored)] if scored else []
    any_correct = np.array([any(s.correct for s in group) for group in by_prompt(scored).values()], np.float64)
    return tasks, {
        "overall": _entry(clustered_mean(clusters), len(scored)),
        "per_image": _entry(clustered_mean(everything), len(scored)),
        "prompts": _entry(mean_with_interval(any_correct), len(any_correct)),
    }


def _clusters(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray]:
    """Correct images and images, a prompt each."""
    groups = by_prompt(scored).values()
    return np.array([sum(s.correct for s in g) for g in groups]), np.array([len(g) for g in groups])


def _entry(estimate: tuple[float | None, list[float] | None], n: int) -> dict[str, Any]:
    return {"value": estimate[0], "ci95": estimate[1], "n": n}


def official_page(scored: Sequence[Scored]) -> str:
    """What the official program prints."""
    tasks, found = scores(scored)
    groups = by_tag(scored)
    lines = ["Summary", "======="]
    lines += [f"Total images: {len(scored)}", f"Total prompts: {found['prompts']['n']}"]
    lines += [f"% correct images: {found['per_image']['value']:.2%}"]
    lines += [f"% correct prompts: {found['prompts']['value']:.2%}"]
    lines += ["", "Task breakdown", "=============="]
    for tag, entry in tasks.items():
        lines.append(f"{tag:<16} = {entry['value']:.2%} ({sum(s.correct for s in groups[tag])} / {entry['n']})")
    lines += ["", f"Overall score (avg. over tasks): {found['overall']['value']:.5f}"]
    return "\n".join(lines) + "\n"
