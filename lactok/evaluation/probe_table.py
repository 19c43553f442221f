"""The table of probes of ids, as the command prints it and `load_results` draws it."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from lactok.errors import first_few, one_line
from lactok.evaluation.probe_parts import FIGURES
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ProbeResult, ReconResult
from lactok.evaluation.table import decimals, interval_notes, missing_notes, number, printable


def made_of(result: ProbeResult | ReconResult) -> str:
    """Return a key of what decides a row's ids; the row of the reconstruction suite and its probe have the same one.

    That is the tokenizer with its weights, the photographs and how they were prepared, the dtype and the seed.
    """
    data, tokenizer = result.data, result.data.tokenizer
    prepare = data.protocol.prepare if isinstance(result, ReconResult) else data.prepare
    weights = [tokenizer.code, sorted(asset.sha256 for asset in tokenizer.assets)]
    return digest([tokenizer.name, weights, data.dataset.sha256, prepare, result.dtype, result.seed])


def same_work(result: ProbeResult) -> tuple[str, ...]:
    """Return what the probes of one table share: the photographs, their preparation, and the budget."""
    return result.dataset, result.data.dataset.sha256, result.data.prepare, result.data.probe.hash


def groups(results: Sequence[ProbeResult]) -> list[list[ProbeResult]]:
    """Return probes in groups that may share a table, in a fixed order."""
    found: dict[tuple[str, ...], list[ProbeResult]] = {}
    for result in results:
        found.setdefault(same_work(result), []).append(result)
    return [found[key] for key in sorted(found)]


def chance_text(result: ProbeResult) -> str:
    """Return the accuracy that chance gives, in percent, "-" without labels."""
    labels = result.data.labels
    return "-" if labels is None else decimals(100 * labels.chance, 1)


def notes(results: Sequence[ProbeResult]) -> list[str]:
    """Return what a reader of these probes, which share a table, must know."""
    budget = results[0].data.probe.budget
    found = [
        "probe accuracy (%): of a logistic regression on hashed ids, of photographs that it was not trained on; "
        "chance: that of always naming the most frequent class. Bits are those of held-out photographs by a GPT of "
        f"{results[0].data.probe.parameters} parameters after {budget.get('steps')} steps of "
        f"{budget.get('step_symbols')} symbols, the same for all; the share is of tokens x log2(codes)."
    ]
    for labels in {r.data.labels.sha256: r.data.labels for r in results if r.data.labels is not None}.values():
        line = f"{labels.n} photographs of {labels.classes} classes ({printable(labels.source)})"
        if labels.left_out:
            names = first_few([printable(one_line(name, 40)) for name in labels.left_out], 3, "named in result.json")
            line += f"; classes of too few photographs are left out: {names}"
        found.append(f"{line}.")
    splits = {(s.training, s.validation, s.held_out) for r in results if (s := r.data.split) is not None}
    for training, validation, held_out in sorted(splits):
        found.append(f"{training} photographs for training, {validation} for validation, {held_out} held out.")
    return found


def markdown(results: Sequence[ProbeResult]) -> str:
    """Return probes of one group as a Markdown table, with its footnotes below."""
    metrics = [metric for key, metric in FIGURES.items() if any(key in result.metrics for result in results)]
    rows = []
    for result in results:
        tokenizer = result.data.tokenizer
        row = [tokenizer.name, str(tokenizer.tokens or "-"), str(tokenizer.codebook_size or "-")]
        cells = {m.key: number(m, result.metrics.get(m.key)) for m in metrics}
        rows.append([*row, *cells.values(), chance_text(result), str(result.n)])
    head = ["tokenizer", "tokens", "codes", *(metric.head for metric in metrics), "chance", "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(head) - 1))
    entries = [(FIGURES[key].title, e) for r in results for key, e in r.metrics.items() if key in FIGURES]
    said = interval_notes(entries, "the mean over photographs") if any(e.ci95 for _, e in entries) else []
    return "\n\n".join([text, "\n".join([*said, *notes(results), *missing_notes(entries)])]) + "\n"
