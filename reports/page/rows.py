"""Reconstruction results for the page: a line a row, its records in files of their own, its pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError
from lactok.evaluation.protocol import METRICS, PER_IMAGE
from lactok.evaluation.table import DIGITS, TITLES, cell
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts
from reports.page.viewer import Groups
from reports.stored import ReconResult, Stored

if TYPE_CHECKING:
    import pandas

ROUNDED = 4  # digits after the point of a record's value
Columns = dict[str, list[Any]]


def summary(
    results: Sequence[ReconResult], pictures: Pictures, scripts: Scripts, problems: list[str]
) -> dict[str, Any]:
    """{"metrics", "rows", "groups"}; writes the records' files and adds to `problems` what cannot be read."""
    groups = Groups(pictures, problems)
    rows = []
    for result in results:
        row = _row(result)
        try:
            records = _columns(result.records)
        except UserError as error:
            problems.append(str(error))
        else:
            groups.add(result, row["key"], row["group"], records)
            samples = _write_samples(records, scripts)
            columns = {k: v for k, v in records.items() if k not in ("id", "caption")}
            row["records"] = f"records-{row['key']}"
            scripts.write(row["records"], {"samples": samples, "columns": columns})
        rows.append(row)
    rows.sort(key=lambda r: (r["family"] == "reference", r["family"], r["dataset"], _natural(r["name"]), r["key"]))
    known = [m for m in METRICS if any(m in r["metrics"] for r in rows)]
    return {"metrics": [_metric(m) for m in known], "rows": rows, "groups": groups.described(rows)}


def key(result: Stored) -> str:
    """A short name of a result that is safe in a path and an address."""
    return sha256(result.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _metric(metric: str) -> dict[str, Any]:
    return {
        "key": metric, "title": TITLES[metric], "better": "higher" if METRICS[metric] else "lower",
        "digits": DIGITS.get(metric, 3), "factor": 1000 if metric == "kid" else 1, "perImage": metric in PER_IMAGE,
    }  # fmt: skip


def _row(result: ReconResult) -> dict[str, Any]:
    tokenizer, dataset, protocol = result.tokenizer, result.result["dataset"], result.protocol
    about = result.about
    return {
        "key": key(result),
        "name": result.label,
        "family": tokenizer["family"],
        "tokens": tokenizer["tokens"],
        "codes": tokenizer["codebook_size"],
        "bits": tokenizer["bits"],
        "bpp": tokenizer.get("bpp"),
        "overBudget": tokenizer.get("over_budget") or 0,
        "dataset": result.dataset,
        "n": result.n,
        "skipped": [f"{s['id']}: {s['reason']}" for s in dataset["skipped"]],
        "protocol": protocol["name"],
        "measure": f"{result.dataset}, {protocol['name']} at {protocol['resolution']} px",
        "pictured": f"{result.dataset}, {protocol['resolution']} px",
        "group": sha256(f"{dataset['sha256']} {protocol['prepare']}".encode()).hexdigest()[:12],
        "unusual": [result.dtype] * (result.dtype != "float32") + [f"seed {result.seed}"] * (result.seed != 0),
        "encode": result.seconds("encode"),
        "decode": result.seconds("decode"),
        "machine": ", ".join(filter(None, [about.get("machine", {}).get("processor"), about.get("device")])),
        "usage": (result.result["codebook"] or {}).get("usage"),
        "metrics": {m: _value(m, e) for m, e in result.metrics.items() if m in METRICS},
    }


def _value(metric: str, entry: Any) -> dict[str, Any]:
    return {
        "value": entry["value"], "ci95": entry.get("ci95"), "text": cell(metric, entry),
        "reliable": entry.get("reliable", True), "exact": entry.get("capped", 0) == entry["n"] > 0,
    }  # fmt: skip


def _columns(records: pandas.DataFrame) -> Columns:
    """Ids, captions, bits where they differ, near ties and the metrics; what is missing is None."""
    import numpy as np

    columns: Columns = {}
    for name in ("id", "caption"):
        if name not in records:
            raise UserError(f"records.parquet has no column {name}; run the command that made it again")
        columns[name] = records[name].astype(object).where(records[name].notna(), None).tolist()
    for name in ("bits", "near_ties", *PER_IMAGE):
        if name in records and not (name == "bits" and records[name].nunique() == 1):  # the row says those
            values = records[name].to_numpy(np.float64, na_value=np.nan).round(ROUNDED)
            listed: list[Any] = values.tolist() if name in PER_IMAGE else [int(v) if v == v // 1 else v for v in values]
            columns[name] = listed if np.isfinite(values).all() else [v if np.isfinite(v) else None for v in listed]
    return columns


def _write_samples(records: Columns, scripts: Scripts) -> str:
    """Ids and captions, one file for all rows over the same samples; returns its name."""
    captions = records["caption"] if any(c is not None for c in records["caption"]) else None
    digest = sha256(json.dumps([records["id"], captions]).encode()).hexdigest()[:12]
    scripts.write(f"samples-{digest}", {"ids": records["id"], "captions": captions})
    return f"samples-{digest}"
