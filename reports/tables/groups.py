"""Reconstruction runs that may share a table: those of the same images under the same definitions."""

from __future__ import annotations

from collections.abc import Iterable

from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ReconResult
from reports.tables.choice import scoring_settings


def group_of(run: ReconResult) -> tuple[str, ...]:
    """Return what runs of one table share: the images, their preparation and the scoring."""
    protocol = run.data.protocol
    return run.dataset, run.data.dataset.sha256, protocol.prepare, protocol.score


def alike(run: ReconResult) -> str:
    """Return a short key of what runs that may be compared share, whichever metrics each of them has.

    That is the images, their preparation, the protocol's name, and how images are scored.
    """
    protocol = run.data.protocol
    scoring = scoring_settings(protocol.definition.score)
    return digest([run.dataset, run.data.dataset.sha256, protocol.prepare, protocol.name, scoring])[:12]


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
