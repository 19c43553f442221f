"""Reconstruction results for the page: a row for each, a file with its records, and its pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from lactok.errors import UserError, first_few
from lactok.evaluation.results import ReconResult, Result
from lactok.evaluation.schema_parts import Entry
from lactok.evaluation.table import FEW, continuous_notes, metrics_of, missing_notes, number, usage_notes
from lactok.metrics.registry import ImageMetric, Metric, sorted_keys
from reports.conditions import unusual_conditions
from reports.families import look
from reports.page import comparisons
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts
from reports.page.sets import sets_of, without_hash
from reports.page.viewer import NO_METRICS, Groups
from reports.tables.cells import Mark

FOLDER = "images-"  # how the name of somebody's folder of reconstructions begins
ROUNDED = 4  # digits after the point of a value of one image
Columns = dict[str, list[Any]]  # records by column


def summary(
    results: Sequence[ReconResult], pictures: Pictures, scripts: Scripts, problems: list[str]
) -> dict[str, Any]:
    """Return the `metrics`, the `rows`, the `groups` of pictures and the `sets` of runs.

    Writes the files of records and of comparisons, and adds to `problems` what cannot be read.
    """
    groups = Groups(pictures, problems)
    rows: list[dict[str, Any]] = []
    per_image: set[str] = set()  # names of the metrics that records hold
    sets = sets_of(results)
    set_of = {result.name: run_set for run_set in sets for result in run_set.runs}
    marks = {place: mark for run_set in sets for place, mark in run_set.marks().items()}
    for result in results:
        row = _row(result, marks) | {"set": set_of[result.name].key}
        try:
            records = _columns(result)
        except UserError as error:
            problems.append(str(error))
        else:
            groups.add(result, row["key"], row["group"], records)
            samples = _write_samples(records, scripts)
            columns = {k: v for k, v in records.items() if k not in ("id", "caption")}
            per_image |= columns.keys() - set(NO_METRICS)
            row["records"] = f"records-{row['key']}"
            scripts.write(row["records"], {"samples": samples, "columns": columns})
        rows.append(row)
    keys = {result.name: key(result) for result in results}
    shown_sets = [
        run_set.as_data() | {"notes": _notes(run_set.runs), "comparisons": comparisons.write(run_set, keys, scripts)}
        for run_set in sets
    ]
    rows.sort(
        key=lambda r: (
            r["continuous"],
            r["family"] == "reference",
            r["family"],
            r["dataset"],
            _natural(r["name"]),
            r["key"],
        )
    )
    return {
        "metrics": [_metric(m, per_image) for m in metrics_of(results)],
        "rows": rows,
        "groups": groups.as_data(rows),
        "sets": shown_sets,
    }


def _notes(runs: Sequence[ReconResult]) -> list[str]:
    """Return the notes on the table of a set."""
    entries = [(run.metric(name).title, entry) for run in runs for name, entry in run.metrics.items()]
    return [*usage_notes(runs), *continuous_notes(runs), *missing_notes(entries)]


def key(result: Result) -> str:
    """Return a short name of a result that is safe in a path and an address."""
    return sha256(result.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers within names by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def name_of(metric: Metric) -> str:
    """Return a metric's key in the page; a plug-in's gets a prefix, so that it is no property name of JavaScript's."""
    return metric.key if metric.own else f"other-{metric.key}"


def _metric(metric: Metric, per_image: set[str]) -> dict[str, Any]:
    """Return how the page shows a metric."""
    name = name_of(metric)
    return {
        "key": name,
        "title": metric.title,
        "better": "higher" if metric.higher else "lower",
        "digits": metric.digits,
        "factor": metric.scale,
        "perImage": isinstance(metric, ImageMetric) or name in per_image,
    }


def _row(result: ReconResult, marks: Mapping[tuple[str, str], Mark]) -> dict[str, Any]:
    """Return what the page shows of a result, without its records; `marks` has those of all results."""
    tokenizer, dataset, protocol = result.data.tokenizer, result.data.dataset, result.data.protocol
    about, codebook = result.about, result.data.codebook
    skipped = [f"{sample.id}: {sample.reason}" for sample in dataset.skipped]
    return {
        "key": key(result),
        "name": without_hash(result.label) if result.label.startswith(FOLDER) else result.label,
        "folder": result.name,
        "family": tokenizer.family,
        "look": asdict(look(tokenizer.family)),
        "tokens": tokenizer.tokens,
        "codes": tokenizer.codebook_size,
        "continuous": tokenizer.kind == "continuous",
        "bits": tokenizer.bits,
        "bpp": tokenizer.bpp,
        "overBudget": tokenizer.over_budget or 0,
        "dataset": result.dataset,
        "n": result.n,
        "skipped": [first_few(skipped, FEW, "named in its result.json")] if skipped else [],
        "protocol": protocol.name,
        "pictured": f"{without_hash(result.dataset)}, {protocol.size_text}",
        "group": sha256(f"{dataset.sha256} {protocol.prepare}".encode()).hexdigest()[:12],
        "unusual": unusual_conditions(result),
        "encode": result.seconds("encode"),
        "decode": result.seconds("decode"),
        "machine": ", ".join(filter(None, [about.get("machine", {}).get("processor"), about.get("device")])),
        "usage": codebook.usage if codebook else None,
        "metrics": {
            name_of(m): _value(m, result[m.key]) | {"mark": marks.get((result.name, m.key), "")}
            for m in map(result.metric, result.metrics)
        },
    }


def _value(metric: Metric, entry: Entry) -> dict[str, Any]:
    """Return a metric's value with its interval, its text, and whether it is reliable and exact."""
    return {
        "value": entry.value,
        "ci95": entry.ci95,
        "text": number(metric, entry),
        "reliable": entry.reliable is not False or entry.value is None,
        "exact": (entry.capped or 0) == entry.n > 0,
    }


def _columns(result: ReconResult) -> Columns:
    """Return the records' columns: ids, captions, bits where they differ between images, near ties and the metrics.

    A missing value is None.

    Raises:
        UserError: the records have no ids or captions.
    """
    import numpy as np

    records = result.records
    columns: Columns = {}
    for name in ("id", "caption"):
        if name not in records:
            raise UserError(f"{result.name}/records.parquet has no column {name}; run the command that made it again")
        columns[name] = records[name].astype(object).where(records[name].notna(), None).tolist()

    def values(name: str) -> list[Any]:
        rounded = records[name].to_numpy(np.float64, na_value=np.nan).round(ROUNDED)
        return [value if np.isfinite(value) else None for value in rounded.tolist()]

    if "bits" in records and records["bits"].nunique() != 1:  # bits that are the same for all stand in the row
        columns["bits"] = _whole_numbers(values("bits"))
    if "near_ties" in records:
        columns["near_ties"] = _whole_numbers(values("near_ties"))
    for name in sorted_keys([*result.metrics]):
        if name in records and name not in (*NO_METRICS, "sha256"):
            columns[name_of(result.metric(name))] = values(name)
    return columns


def _whole_numbers(values: list[Any]) -> list[Any]:
    """Return the values with whole numbers as int, which JSON writes without a point."""
    return [int(value) if value is not None and value == int(value) else value for value in values]


def _write_samples(records: Columns, scripts: Scripts) -> str:
    """Write ids and captions into a file, the same one for all rows of the same samples, and return its name."""
    captions = records["caption"] if any(c is not None for c in records["caption"]) else None
    digest = sha256(json.dumps([records["id"], captions]).encode()).hexdigest()[:12]
    scripts.write(f"samples-{digest}", {"ids": records["id"], "captions": captions})
    return f"samples-{digest}"
