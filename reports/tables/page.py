"""The tables of the page: those of the papers, with measured numbers beside published ones, and preference scores."""

from __future__ import annotations

from typing import Any

from lactok.evaluation.results import GenEvalResult, ReconResult, Results
from reports.tables import found, ids, paper, rate
from reports.tables.cells import Table
from reports.tables.formats import as_data


def tables(results: Results, all_papers: bool = False) -> list[dict[str, Any]]:
    """Return all tables but those of reconstructions and GenEval results found here, which the page shows elsewhere.

    Args:
        results: the results.
        all_papers: whether the papers' tables in which nothing is measured are among them.
    """
    others = found.build(results.without(ReconResult, GenEvalResult))
    papers = paper.build(results) if all_papers else paper.build_measured(results)
    every = (*papers, *others, *ids.build(results), *rate.build(results))
    return [_with_digits(table) for table in every]


def _with_digits(table: Table) -> dict[str, Any]:
    """Return a table as data, with the digits of measured (`digits`) and published (`printed`) numbers."""
    data = as_data(table)
    for described, column in zip(data["columns"], table.columns, strict=True):
        described["digits"] = column.metric.digits
        described["printed"] = column.printed
    return data
