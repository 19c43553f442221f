"""Reconstruction runs that may share a table: those of the same images under the same definitions."""

from __future__ import annotations

from collections.abc import Iterable

from lactok.evaluation.results import ReconResult


def group_of(run: ReconResult) -> tuple[str, ...]:
    """Return what runs of one table share: the images, their preparation and the scoring."""
    protocol = run.data.protocol
    return run.dataset, run.data.dataset.sha256, protocol.prepare, protocol.score


def same_images(runs: Iterable[ReconResult]) -> list[list[ReconResult]]:
    """Return runs in groups of the same images under the same definitions, in a fixed order."""
    found: dict[tuple[str, ...], list[ReconResult]] = {}
    for run in runs:
        found.setdefault(group_of(run), []).append(run)
    return [found[group] for group in sorted(found)]


def title_of(run: ReconResult) -> str:
    """Return the data set, the number of images and the protocol of a run's group in words."""
    size = f"{run.n} images, limit {run.limit}" if run.limit else f"{run.n} images"
    return f"{run.dataset} ({size}), {run.data.protocol.name} at {run.data.protocol.size_text}"
