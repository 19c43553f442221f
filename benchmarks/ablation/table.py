"""An ablation as a table: what was measured, and the published row beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from benchmarks import published
from benchmarks.ablation.studies import Study
from lactok.evaluation.results import ReconResult
from lactok.evaluation.table import metrics_of, number


def table(study: Study, found: Mapping[str, ReconResult], order: Sequence[str], seconds: Mapping[str, float]) -> str:
    """Markdown: a row a variant, measured metrics, decode time where it was taken, the published row beside.

    Args:
        found: results by the tokenizer's name; a variant without one was not run.
        order: the variants' tokenizers.
        seconds: to decode one picture, by the tokenizer's name.
    """
    metrics = metrics_of(list(found.values()))
    printed = published.table(study.table) if study.table else None
    columns = printed.columns if printed else ()
    head = ["variant", "tokenizer", "tokens", *(m.head for m in metrics)]
    head += ["decode s"] * bool(seconds) + [f"paper {c}" for c in columns]
    body = []
    for variant, name in zip(study.rows, order, strict=True):
        result = found.get(name)
        row = [variant.label, name, str(result.data.tokenizer.tokens) if result else "not run"]
        row += [number(m, result.metrics.get(m.key)) if result else "-" for m in metrics]
        row += [f"{seconds[name]:.3f}" if name in seconds else "-"] * bool(seconds)
        beside = printed.rows[variant.published] if printed and variant.published else {}
        body.append([*row, *("-" if v is None else f"{v:g}" for v in beside.values())])
    return str(tabulate(body, head, tablefmt="pipe", disable_numparse=True)) + "\n"
