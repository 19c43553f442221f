"""The table of reconstruction results, as Markdown (which commands print) and as a picture."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from lactok.errors import first_few, one_line
from lactok.evaluation.names import is_control
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.results import PicturesResult, ReconResult, load
from lactok.evaluation.schema_parts import Entry, Skipped
from lactok.evaluation.taught import MARK, taught, taught_notes
from lactok.metrics.frechet import SINGULAR_BELOW
from lactok.metrics.registry import Metric, sorted_keys

LARGE = 1e9  # from here on numbers are written as powers of ten, so that a cell stays short
FEW = 10  # names in a line, and lines of one kind, until the rest is only counted


def metrics_of(results: Sequence[ReconResult]) -> list[Metric]:
    """Return the metrics that any of the results has, in the order of the table's columns."""
    having = {key: result for result in results for key in result.metrics}
    return [having[key].metric(key) for key in sorted_keys(list(having))]


def decimals(value: float, digits: int, sign: str = "") -> str:
    """Return a number as a short text: "-" where it is not finite, and never a zero with a minus.

    A distance of a set to itself, for one, is computed as -5.7e-14.

    Args:
        value: the number.
        digits: digits after the point.
        sign: "+" shows a plus before numbers that are not negative.

    >>> decimals(-5.7e-14, 2), decimals(-18.42, 1), decimals(float("nan"), 2), decimals(1e300, 2)
    ('0.00', '-18.4', '-', '1e+300')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:{sign}.3g}" if abs(value) >= LARGE else f"{value:{sign}z.{digits}f}"


def number(metric: Metric, entry: Entry | None) -> str:
    """Return a value as text, with half the width of its interval; a distance from too few images begins with `~`.

    A mean over images of which some have no value is "nan".
    """
    if entry is None or entry.value is None:
        return "nan" if entry is not None and entry.nan else "-"
    text = decimals(entry.value * metric.scale, metric.digits)
    if entry.ci95:
        low, high = entry.ci95
        text += f" ±{decimals((high - low) / 2 * metric.scale, metric.digits)}"
    return f"~{text}" if entry.reliable is False else text


def why_missing(entry: Entry) -> str:
    """Return why a result has no value of a metric, "" where it has one; results of earlier versions give no reason."""
    if entry.value is not None:
        return ""
    return entry.reason or f"could not be computed from {entry.n} images"


def missing_notes(entries: Iterable[tuple[str, Entry]]) -> list[str]:
    """Return the footnotes that say why there is "-" or "nan" instead of a value, and which images a mean leaves out.

    Args:
        entries: the entries of a table, each with the title of its metric.

    >>> missing_notes([("rFID", Entry(value=None, n=1, reason="too few images")), ("PSNR", Entry(value=2.5, n=1))])
    ['- under rFID: too few images.']
    >>> missing_notes([("face similarity", Entry(value=0.9, n=12, excluded=24))])
    ['face similarity is of 12 of 36 images; the others show nothing that it measures.']
    """
    titles: dict[tuple[str, str], dict[str, None]] = {}
    excluding: dict[str, None] = {}
    for title, entry in entries:
        reason = why_missing(entry)
        if reason:
            titles.setdefault(("nan" if entry.nan else "-", reason), {})[title] = None
        elif entry.excluded:
            few = f"{entry.n} of {entry.n + entry.excluded}"
            excluding[f"{title} is of {few} images; the others show nothing that it measures."] = None
    missing = [
        f"{sign} under {first_few(list(under), FEW)}: {one_line(reason, None)}."
        for (sign, reason), under in titles.items()
    ]
    return [*missing, *excluding]


def interval_notes(entries: Sequence[tuple[str, Entry]], mean: str = "the mean over images") -> list[str]:
    """Return the footnotes that say what ± means, and which distances have no interval and why.

    Args:
        entries: the entries of a table, each with the title of its metric.
        mean: what the intervals of the others are of, in words.
    """
    sets = "; of a distance of sets, for other images of the same kind" if any(e.groups for _, e in entries) else ""
    notes = [f"± is half the 95 % interval of {mean}{sets}."]
    titles: dict[str, dict[str, None]] = {}
    for title, entry in entries:
        if entry.ci95_reason:
            titles.setdefault(entry.ci95_reason, {})[title] = None
    for reason, of in titles.items():
        notes.append(f"No interval of {first_few(list(of), FEW)}: {one_line(reason, None)}.")
    return notes


def lines_by_reason(notes: Iterable[Skipped], label: str, rest: str = "named in result.json") -> list[str]:
    """Return lines for the user that name the first samples that were left out and count the others.

    There is a line for each reason, and at most `FEW` lines and one for the rest.

    Args:
        notes: the samples with the reasons.
        label: how the lines begin.
        rest: where the others stand, "" if nowhere.

    >>> lines_by_reason([Skipped(id=f"{i}", reason="not an image") for i in range(50_000)], "left out")
    ['left out: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 49990 more, named in result.json: not an image']
    """
    names: dict[str, list[str]] = {}
    for note in notes:
        names.setdefault(one_line(note.reason, None), []).append(printable(note.id))
    lines = [f"{label}: {first_few(few, FEW, rest)}: {reason}" for reason, few in names.items()]
    if len(lines) > FEW:
        others = sum(len(few) for few in list(names.values())[FEW:])
        lines[FEW:] = [f"{label}: {others} more for other reasons{f', {rest}' if rest else ''}"]
    return lines


def unreliable_notes(results: Sequence[ReconResult]) -> list[str]:
    """Return the footnotes that say what `~` means, for the distances of results that are from too few images."""
    biased, others = dict[str, None](), dict[str, int]()
    for result in results:
        for key, entry in result.metrics.items():
            if entry.reliable is False and entry.value is not None:
                metric = result.metric(key)
                if key.startswith("rfid") and metric.reliable_from == SINGULAR_BELOW:
                    biased["images" if entry.rows is None else "patches"] = None
                else:
                    others[metric.title] = metric.reliable_from
    notes = []
    if biased:
        notes.append(
            f"~ rFID of fewer than {SINGULAR_BELOW} {' or '.join(biased)} is biased upwards and not comparable with "
            "published numbers."
        )
    if others:
        said = ", ".join(f"{title} of fewer than {count}" for title, count in others.items())
        notes.append(f"~ {said} images is not comparable with published numbers.")
    return notes


def seconds_column(results: Sequence[PicturesResult]) -> tuple[list[str], list[str]]:
    """Return the seconds an image of generators, a cell for each result, and the notes that say what measured them.

    Both are empty where no result has a time. Times differ from run to run, so they belong into what is printed and
    not into files that have the same bytes every time.
    """
    if all(result.seconds_per_image is None for result in results):
        return [], []
    cells: list[str] = []
    places: dict[str, list[str]] = {}
    for result in results:
        seconds = result.seconds_per_image
        cells.append("-" if seconds is None else f"{seconds:.3g}")
        if seconds is not None:
            places.setdefault(result.timed_on, []).append(f"{result.label} ({result.timed_images} images)")
    said = "; ".join(f"{first_few(names, FEW)} on {place}" for place, names in places.items())
    return cells, [f"s/image: seconds of wall time an image in one process, from prompt to pixels: {said}."]


def printable(name: str) -> str:
    """Return a name of a file as it is, or with escapes if it has characters that a terminal would act on."""
    return ascii(name) if any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in name) else name


def share_of_codes(result: ReconResult) -> str:
    """Return the share of the codebook's codes that a result's ids use, "-" where there is no codebook."""
    codebook = result.data.codebook
    if codebook is None:
        return "-"
    return "<1%" if 0 < codebook.usage < 0.005 else f"{decimals(100 * codebook.usage, 0)}%"


def fast_note(result: ReconResult) -> str:
    """Return the footnote that says how far a result with `fast` is from one without; "" for one without."""
    part = result.data.fast
    if part is None:
        return ""
    said = [f"{result.metric(key).title} differs by at most {value:.2g}" for key, value in part.largest.items()]
    for name, value in part.distance.items():
        if value is not None:
            said.append(f"the features {name} lie a Frechet distance of {value:.2g} apart")
    count = "1 image" if part.images == 1 else f"{part.images} images"
    return (
        f"{one_line(result.label, None)} (fast): the metrics' networks computed in bfloat16, so the row does not "
        f"belong beside published numbers; on {count} computed in float32 too, {', '.join(said) or 'nothing differs'}."
    )


def usage_notes(results: Sequence[ReconResult]) -> list[str]:
    """Return the footnote that says which results have fewer ids than there are codes, so that most stay unused."""
    said = []
    for result in results:
        codebook = result.data.codebook
        if codebook is not None and codebook.size is not None and codebook.seen < codebook.size:
            most = f"at most {100 * codebook.seen / codebook.size:.3g} % of {codebook.size} codes"
            images = "1 image holds" if result.n == 1 else f"{result.n} images hold"
            line = f"{one_line(result.label, None)}: {images} {codebook.seen} ids, {most}"
            if codebook.usage_of_seen is not None:
                line += f", {100 * codebook.usage_of_seen:.3g} % of which they use"
            said.append(line)
    if not said:
        return []
    return [f"usage is the share of all codes that occur; {'; '.join(said[:FEW])}{_others(len(said) - FEW)}."]


def apart(results: Sequence[ReconResult]) -> list[ReconResult]:
    """Return results in their order, but continuous ones, which are ceilings and no tokenizers, after all others."""
    return sorted(results, key=lambda result: result.data.tokenizer.kind == "continuous")


def codes_text(result: ReconResult) -> str:
    """Return the number of a result's codes as a cell, "continuous" where an image is coded as numbers."""
    tokenizer = result.data.tokenizer
    return "continuous" if tokenizer.kind == "continuous" else str(tokenizer.codebook_size or "-")


def continuous_notes(results: Sequence[ReconResult]) -> list[str]:
    """Return the footnote that says what the bits of continuous rows are."""
    said = []
    for result in results:
        tokenizer = result.data.tokenizer
        width = tokenizer.options.get("value_bits")
        if tokenizer.kind == "continuous":
            counted = ""
            if tokenizer.bits is not None and isinstance(width, int):
                counted = f" {tokenizer.bits / width:.0f} of {width} bits"
            said.append(f"{one_line(result.label, None)}{counted}")
    if not said:
        return []
    return [
        "continuous: a ceiling without ids, which codes an image as numbers; its bits are those of all the numbers: "
        f"{'; '.join(said[:FEW])}{_others(len(said) - FEW)}."
    ]


def _others(count: int) -> str:
    """Return the end of a list that leaves out so many."""
    return f"; and {count} more rows likewise" if count > 0 else ""


def cells(results: Sequence[ReconResult]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the table's head, its rows and the footnotes.

    The head has arrows for the better direction, a row is a result, and footnotes say what a reader must know.
    """
    metrics = metrics_of(results)
    head = ["tokenizer", "tokens", "codes", "bits", *(metric.head for metric in metrics), "usage", "n"]
    rows = []
    for result in apart(results):
        tokenizer = result.data.tokenizer
        bits = "-" if tokenizer.bits is None else decimals(tokenizer.bits, 0)
        if tokenizer.over_budget:
            bits += "*"
        marked = tokenizer.name + (" (fast)" if result.data.fast else "")
        row = [marked, str(tokenizer.tokens or "-"), codes_text(result), bits]
        marked_keys = taught(result)
        row += [
            number(metric, result.metrics.get(metric.key)) + (MARK if metric.key in marked_keys else "")
            for metric in metrics
        ]
        row.append(share_of_codes(result))
        row.append(str(result.n))
        rows.append(row)
    entries = [(result.metric(key).title, entry) for result in results for key, entry in result.metrics.items()]
    notes = interval_notes(entries)
    notes += usage_notes(results)
    notes += continuous_notes(results)
    notes += missing_notes(entries)
    notes += unreliable_notes(results)
    notes += taught_notes(results)
    notes += [fast_note(result) for result in results if result.data.fast]
    notes += [
        f"{note}; the official models: python -m benchmarks.recon --tokenizers all, or by name."
        for note in small_notes(results)
    ]
    if any(result.data.tokenizer.over_budget for result in results):
        notes.append("* above the budget: for some images no file is that small.")
    return head, rows, notes


def small_notes(results: Sequence[ReconResult]) -> list[str]:
    """Return what small models are, without a full stop, if there are some among the results."""
    if not any(result.label.partition("@")[0].endswith("-tiny") for result in results):
        return []
    return ["-tiny: trained here on a few thousand photographs or fewer, a demonstration, not a ranking of methods"]


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
        if (
            isinstance(stored, ReconResult)
            and not is_control(stored.label)
            and _measured(stored) == _measured(results[0])
        ):
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
