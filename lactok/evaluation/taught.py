"""Which figures flatter a tokenizer: those of metrics whose network was a part of its training's loss."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lactok import registry
from lactok.errors import UserError, first_few, one_line
from lactok.evaluation.results import ReconResult

MARK = "†"


def taught(result: ReconResult) -> list[str]:
    """Return the keys of the metrics of a result whose network taught the tokenizer, as its spec's `taught_by` says.

    Of a tokenizer that is not known here, and of reconstructions without one, nothing is known.
    """
    base = result.label.partition("@")[0]
    if base not in registry.TOKENIZERS.registered and base not in registry.TOKENIZERS.own():
        return []  # one that is a file or another package's is not imported for this
    try:
        teachers = registry.tokenizer_spec(base).taught_by
    except UserError:
        return []
    return [key for key in result.metrics if {asset.name for asset in result.metric(key).needs} & {*teachers}]


def taught_notes(results: Sequence[ReconResult], shown: Collection[str] | None = None) -> list[str]:
    """Return the footnote that says what `MARK` means, if a cell has it; `shown` are the metrics of a table, or all."""
    said = []
    for result in results:
        if titles := [result.metric(key).title for key in taught(result) if shown is None or key in shown]:
            said.append(f"{one_line(result.label, None)} by that of {first_few(titles, 10)}")
    if not said:
        return []
    return [
        f"{MARK} the tokenizer was trained by the metric's own network, so the figure flatters it: {'; '.join(said)}."
    ]
