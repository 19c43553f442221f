"""Reconstruction results for the page: a line a row, its records in files of their own, its pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from lactok.errors import UserError
from lactok.evaluation.results import ReconResult, Result
from lactok.evaluation.schema import Entry
from lactok.evaluation.table import metrics_of, number
from lactok.metrics.registry import ImageMetric, Metric, sorted_keys
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts
from reports.page.viewer import NO_METRICS, Groups

ROUNDED = 4  # digits after the point of a record's value
Columns = dict[str, list[Any]]


def summary(
    results: Sequence[ReconResult], pictures: Pictures, scripts: Scripts, problems: list[str]
) -> dict[str, Any]:
    """{"metrics", "rows", "groups"}; writes the records' files and adds to `problems` what cannot be read."""
    groups = Groups(pictures, problems)
    rows: list[dict[str, Any]] = []
    per_image: set[str] = set()
    for result in results:
        row = _row(result)
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
    rows.sort(key=lambda r: (r["family"] == "reference", r["family"], r["dataset"], _natural(r["name"]), r["key"]))
    return {
        "metrics": [_metric(m, per_image) for m in metrics_of(results)],
        "rows": rows,
        "groups": groups.described(rows),
    }


def key(result: Result) -> str:
    """A short name of a result that is safe in a path and an address."""
    return sha256(result.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _name(metric: Metric) -> str:
    """A metric's key in the page: what comes from outside must not be called as JavaScript's own properties are."""
    return metric.key if metric.own else f"other-{metric.key}"


def _metric(metric: Metric, per_image: set[str]) -> dict[str, Any]:
    name = _name(metric)
    return {
        "key": name,
        "title": metric.title,
        "better": "higher" if metric.higher else "lower",
        "digits": metric.digits,
        "factor": metric.scale,
        "perImage": isinstance(metric, ImageMetric) or name in per_image,
    }


def _row(result: ReconResult) -> dict[str, Any]:
    tokenizer, dataset, protocol = result.data.tokenizer, result.data.dataset, result.data.protocol
    about, codebook = result.about, result.data.codebook
    return {
        "key": key(result),
        "name": result.label,
        "family": tokenizer.family,
        "tokens": tokenizer.tokens,
        "codes": tokenizer.codebook_size,
        "bits": tokenizer.bits,
        "bpp": tokenizer.bpp,
        "overBudget": tokenizer.over_budget or 0,
        "dataset": result.dataset,
        "n": result.n,
        "skipped": [f"{s.id}: {s.reason}" for s in dataset.skipped],
        "protocol": protocol.name,
        "measure": f"{result.dataset}, {protocol.name} at {protocol.resolution} px",
        "pictured": f"{result.dataset}, {protocol.resolution} px",
        "group": sha256(f"{dataset.sha256} {protocol.prepare}".encode()).hexdigest()[:12],
        "unusual": [result.dtype] * (result.dtype != "float32") + [f"seed {result.seed}"] * (result.seed != 0),
        "encode": result.seconds("encode"),
        "decode": result.seconds("decode"),
        "machine": ", ".join(filter(None, [about.get("machine", {}).get("processor"), about.get("device")])),
        "usage": codebook.usage if codebook else None,
        "metrics": {_name(m): _value(m, result[m.key]) for m in map(result.metric, result.metrics)},
    }


def _value(metric: Metric, entry: Entry) -> dict[str, Any]:
    return {
        "value": entry.value,
        "ci95": entry.ci95,
        "text": number(metric, entry),
        "reliable": entry.reliable is not False,
        "exact": (entry.capped or 0) == entry.n > 0,
    }


def _columns(result: ReconResult) -> Columns:
    """Ids, captions, bits where they differ, near ties and the metrics; what is missing is None."""
    import numpy as np

    records = result.records
    columns: Columns = {}
    for name in ("id", "caption"):
        if name not in records:
            raise UserError(f"records.parquet has no column {name}; run the command that made it again")
        columns[name] = records[name].astype(object).where(records[name].notna(), None).tolist()
    counts = [c for c in ("bits", "near_ties") if c in records and not (c == "bits" and records[c].nunique() == 1)]
    metrics = [m for m in sorted_keys([*result.metrics]) if m in records and m not in (*NO_METRICS, "sha256")]
    for name in (*counts, *metrics):  # bits that are the same for all stand in the row
        values = records[name].to_numpy(np.float64, na_value=np.nan).round(ROUNDED)
        listed: list[Any] = [int(v) if v == v // 1 else v for v in values] if name in counts else values.tolist()
        shown = name if name in counts else _name(result.metric(name))
        columns[shown] = listed if np.isfinite(values).all() else [v if np.isfinite(v) else None for v in listed]
    return columns


def _write_samples(records: Columns, scripts: Scripts) -> str:
    """Ids and captions, one file for all rows over the same samples; returns its name."""
    captions = records["caption"] if any(c is not None for c in records["caption"]) else None
    digest = sha256(json.dumps([records["id"], captions]).encode()).hexdigest()[:12]
    scripts.write(f"samples-{digest}", {"ids": records["id"], "captions": captions})
    return f"samples-{digest}"
