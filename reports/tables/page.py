"""The papers' tables for the page, published numbers beside measured ones; and those of preference scores."""

from __future__ import annotations

from typing import Any

from lactok.evaluation.results import GenEvalResult, ReconResult, Results
from reports.tables import found, paper
from reports.tables.cells import Table
from reports.tables.formats import as_data


def tables(results: Results) -> list[dict[str, Any]]:
    """Every table but those of reconstructions and GenEval results found here, which have views of their own."""
    others = found.build(results.without(ReconResult, GenEvalResult))
    return [_with_digits(table) for table in (*paper.build(results), *others)]


def _with_digits(table: Table) -> dict[str, Any]:
    data = as_data(table)
    columns = zip(data["columns"], table.columns, strict=True)
    return data | {"columns": [c | {"digits": k.metric.digits, "printed": k.printed} for c, k in columns]}
