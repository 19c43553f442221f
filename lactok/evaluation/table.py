"""The table of reconstruction results, as Markdown (which commands print) and as a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from lactok.evaluation.names import EXCHANGED
from lactok.evaluation.results import ReconResult, load
from lactok.evaluation.schema import Damaged, Entry
from lactok.metrics.registry import Metric, sorted_keys


def metrics_of(results: Sequence[ReconResult]) -> list[Metric]:
    """Return the metrics that any of the results has, in the order of the table's columns."""
    having = {key: result for result in results for key in result.metrics}
    return [having[key].metric(key) for key in sorted_keys(list(having))]


def one_line(text: str) -> str:
    """Return a text from elsewhere on one line, without control characters.

    >>> one_line(" a\\n b\\x1b")
    'a b'
    """
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", text).split())


def number(metric: Metric, entry: Entry | None) -> str:
    """Return a value as text, with half the width of its interval; a distance from too few images begins with `~`."""
    if entry is None or entry.value is None:
        return "-"
    text = f"{entry.value * metric.scale:.{metric.digits}f}"
    if entry.ci95:
        low, high = entry.ci95
        text += f" ±{(high - low) / 2 * metric.scale:.{metric.digits}f}"
    return f"~{text}" if entry.reliable is False else text


def cells(results: Sequence[ReconResult]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the table's head, its rows and the footnotes.

    The head has arrows for the better direction, a row is a result, and footnotes say what a reader must know.
    """
    metrics = metrics_of(results)
    head = ["tokenizer", "tokens", "codes", "bits", *(metric.head for metric in metrics), "usage", "n"]
    rows = []
    for result in results:
        tokenizer, codebook = result.data.tokenizer, result.data.codebook
        bits = "-" if tokenizer.bits is None else f"{tokenizer.bits:.0f}"
        if tokenizer.over_budget:
            bits += "*"
        row = [tokenizer.name, str(tokenizer.tokens or "-"), str(tokenizer.codebook_size or "-"), bits]
        row += [number(metric, result.metrics.get(metric.key)) for metric in metrics]
        row.append(f"{codebook.usage:.0%}" if codebook else "-")
        row.append(str(result.n))
        rows.append(row)
    notes = ["± is half the 95 % bootstrap interval of the mean over images."]
    if any(entry.reliable is False for result in results for entry in result.metrics.values()):
        notes.append("~ rFID of fewer than 2049 images is biased upwards and not comparable with published numbers.")
    if any(result.label.partition("@")[0].endswith("-tiny") for result in results):
        notes.append(
            "-tiny: trained here on 900 photographs, a demonstration, no ranking of the methods; the official models: "
            "python -m benchmarks.recon --tokenizers all, or by name."
        )
    if any(result.data.tokenizer.over_budget for result in results):
        notes.append("* above the budget: for some images no file is that small.")
    return head, rows, notes


def with_stored_rows(results: Sequence[ReconResult], out: Path, name: str) -> list[ReconResult]:
    """Return results, and after them those that earlier runs stored of the same images under the same settings.

    Controls with exchanged ids are left out of the earlier ones, and so is what cannot be read.

    Args:
        results: the results of this run, at least one.
        out: the folder of results.
        name: the end of a folder's name that tells the data set and the settings.
    """
    own = {result.folder.name for result in results}
    rows = list(results)
    for folder in sorted(out.glob("*/result.json")):
        if not folder.parent.name.endswith(name) or folder.parent.name in own:
            continue
        try:
            stored = load(folder.parent)
        except Damaged:
            continue
        is_control = stored.label.endswith(EXCHANGED)
        if isinstance(stored, ReconResult) and not is_control and _measured(stored) == _measured(results[0]):
            rows.append(stored)
    return rows


def _measured(result: ReconResult) -> list[object]:
    """Return what two rows of a table must have in common: the images, the protocol and the metrics' networks."""
    protocol = result.data.protocol
    networks = sorted((network.name, network.sha256) for network in protocol.networks)
    return [result.data.dataset.sha256, protocol.prepare, protocol.score, networks, result.dtype, result.seed]


def markdown(results: Sequence[ReconResult]) -> str:
    """Return the table as Markdown, with its footnotes below."""
    head, rows, notes = cells(results)
    align = ["left"] + ["right"] * (len(head) - 1)
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return text + "\n\n" + "\n".join(notes) + "\n"


def svg(results: Sequence[ReconResult], title: str) -> str:
    """Return the table as an SVG picture, which takes a font that the reader has."""
    from rich.console import Console
    from rich.table import Table

    head, rows, notes = cells(results)
    table = Table(box=None, padding=(0, 1), caption="\n".join(notes), caption_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = 4
    for column in zip(head, *rows, strict=True):
        width += 2 + max(len(cell) for cell in column)
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(table)
    drawn = console.export_svg(title=title, unique_id="table")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S).replace("Fira Code", "ui-monospace")
