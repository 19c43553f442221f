"""Tables of results about pictures that generators made: GenEval, rewards and distances, one for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from lactok.evaluation.results import PicturesResult
from lactok.evaluation.table import interval_notes, missing_notes, number


def markdown(results: Sequence[PicturesResult]) -> str:
    """Return results of one suite and data set as a Markdown table, with its footnotes below.

    The commands print the same numbers, with published ones beside them.
    """
    having = {key: result for result in results for key in result.metrics}
    metrics = [having[key].metric(key) for key in having]
    rows = []
    for result in results:
        cells = [number(metric, result.metrics.get(metric.key)) for metric in metrics]
        rows.append([result.data.pictures.name, *cells, str(result.n)])
    head = ["pictures", *(metric.head for metric in metrics), "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(head) - 1))
    entries = [(result.metric(key).title, entry) for result in results for key, entry in result.metrics.items()]
    notes = interval_notes(entries, "the mean") if any(e.ci95 or e.ci95_reason for _, e in entries) else []
    notes += missing_notes(entries)
    if any(entry.reliable is False and entry.value is not None for _, entry in entries):
        notes.append("~ This value is of too few images to be comparable with published numbers.")
    return "\n\n".join([text, *(["\n".join(notes)] if notes else [])]) + "\n"
