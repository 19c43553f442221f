"""Footnotes of preference scores, for the command's table and the reports: captions that were cut, and references."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.errors import first_few
from lactok.evaluation import datasets
from lactok.evaluation.results import PreferenceResult
from lactok.evaluation.table import FEW, printable

COCO_CAPTIONS = datasets.PUBLISHED["coco"].size  # one of each image


def reading_notes(results: Sequence[PreferenceResult]) -> list[str]:
    """Return what a reader must know of the captions and photographs that the numbers of a table are of.

    A note is said once where it is true of all results, else with the name of each.
    """
    of_each = [[*_cut(result), *_references(result)] for result in results]
    if all(notes == of_each[0] for notes in of_each):
        return of_each[0] if of_each else []
    return [f"{result.label}: {note}" for result, notes in zip(results, of_each, strict=True) for note in notes]


def _cut(result: PreferenceResult) -> list[str]:
    """Return how many captions are cut by which rewards, a sentence for each number of captions and of tokens."""
    rewards: dict[tuple[int, int], list[str]] = {}
    for key, entry in result.metrics.items():
        if entry.captions_cut and entry.tokens:
            rewards.setdefault((entry.captions_cut, entry.tokens), []).append(result.metric(key).title)
    sentences = []
    for (count, tokens), titles in rewards.items():
        which = "1 caption is" if count == 1 else f"{count} captions are"
        sentences.append(f"{which} longer than {tokens} tokens and cut there: {'; '.join(titles)}.")
    return sentences


def _references(result: PreferenceResult) -> list[str]:
    """Return to which photographs the distances are, and how many of these could be read."""
    reference = result.data.reference
    if reference is None:
        return []
    distances = {key: entry for key, entry in result.metrics.items() if entry.references is not None}
    if not distances:
        return []
    titles = " and ".join(result.metric(key).title for key in distances)
    read = next(iter(distances.values())).references
    said = f"{titles}: to the photographs {reference.name}, of which {read} of {reference.n} can be read"
    if reference.skipped:
        said += f"; left out: {first_few([printable(note.id) for note in reference.skipped], FEW, 'in result.json')}"
    return [f"{said}."]


def not_all_of_coco(result: PreferenceResult) -> str:
    """Return why a result's rewards are not those of one picture of each of COCO's captions, "" if they are."""
    if result.dataset.startswith("coco-") and result.n == COCO_CAPTIONS:
        return ""
    return f"rewards of {result.n} pictures of captions {result.dataset}, not of all {COCO_CAPTIONS} of coco"
