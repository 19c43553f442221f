"""Write an ablation as a table: the measured numbers, and the published row beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from benchmarks import published
from benchmarks.ablation.studies import Study, Variant
from lactok.evaluation.results import ReconResult
from lactok.evaluation.table import metrics_of, number


def table(
    study: Study,
    rows: Sequence[Variant],
    results: Mapping[str, ReconResult],
    tokenizers: Sequence[str],
    seconds: Mapping[str, float] | None,
) -> str:
    """Return a Markdown table with a row per variant: metrics, decode time if it was measured, published numbers.

    Args:
        study: the study.
        rows: its variants at the scale that was measured.
        results: the measured results by the name of the tokenizer; a variant without one is shown as not run.
        tokenizers: names of the variants' tokenizers, in the order of the rows.
        seconds: seconds to decode one image, by the name of the tokenizer; None or empty for a table without them.
    """
    metrics = metrics_of(list(results.values()))
    published_table = published.table(study.table) if study.table else None
    head = ["variant", "tokenizer", "tokens", *(metric.head for metric in metrics)]
    if seconds:
        head.append("decode s")
    if published_table:
        head += [f"paper {column}" for column in published_table.columns]
    body = []
    for variant, name in zip(rows, tokenizers, strict=True):
        result = results.get(name)
        if result is None:
            row = [variant.label, name, "not run", *("-" for _ in metrics)]
        else:
            row = [variant.label, name, str(result.data.tokenizer.tokens)]
            row += [number(metric, result.metrics.get(metric.key)) for metric in metrics]
        if seconds:
            row.append(f"{seconds[name]:.3f}" if name in seconds else "-")
        if published_table and variant.published:
            values = published_table.rows[variant.published].values()
            row += ["-" if value is None else f"{value:g}" for value in values]
        body.append(row)
    return str(tabulate(body, head, tablefmt="pipe", disable_numparse=True)) + "\n"
