"""Reconstruction results for the page: a line a row, its records in files of their own, its pictures."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.protocol import METRICS, PER_IMAGE
from benchmarks.table import DIGITS, TITLES, cell
from reports.page.found import Found, Results
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts
from reports.page.viewer import Groups

ROUNDED = 4  # digits after the point of a record's value


def summary(results: Results, runs: Path, pictures: Pictures, scripts: Scripts) -> dict[str, Any]:
    """{"metrics", "rows", "groups"}; writes the records' files."""
    groups = Groups(runs, pictures, results.problems)
    rows = []
    for found in results.recon:
        try:
            row = _row(found)
        except (KeyError, TypeError, AttributeError) as error:
            results.problems.append(
                {"what": found.folder.name, "why": f"result.json lacks what it should hold: {error}"}
            )
            continue
        records = _records(found, results)
        if records is not None:
            samples = _write_samples(records, scripts)
            columns = {k: v for k, v in records.items() if k not in ("id", "caption")}
            scripts.write(f"records-{found.key}", {"samples": samples, "columns": columns})
            groups.add(found, row["group"], records)
            row |= {"records": f"records-{found.key}"}
        rows.append(row)
    rows.sort(key=lambda r: (r["family"], r["name"], r["dataset"], r["key"]))
    known = [m for m in METRICS if any(m in r["metrics"] for r in rows)]
    return {"metrics": [_metric(m) for m in known], "rows": rows, "groups": groups.described(rows)}


def _metric(key: str) -> dict[str, Any]:
    thousandth = key == "kid"
    return {
        "key": key, "title": TITLES[key], "better": "higher" if METRICS[key] else "lower",
        "digits": DIGITS.get(key, 3), "factor": 1000 if thousandth else 1, "perImage": key in PER_IMAGE,
    }  # fmt: skip


def _row(found: Found) -> dict[str, Any]:
    result = found.result
    tokenizer, dataset, protocol = result["tokenizer"], result["dataset"], result["protocol"]
    seconds = found.run.get("seconds", {}).get("wall", {})
    n = dataset["n"]

    def per_image(stage: str) -> float | None:
        return seconds[stage] / n if n and isinstance(seconds.get(stage), int | float) else None

    return {
        "key": found.key,
        "name": str(tokenizer["name"]),
        "family": str(tokenizer["family"]),
        "tokens": tokenizer["tokens"],
        "codes": tokenizer["codebook_size"],
        "bits": tokenizer["bits"],
        "bpp": tokenizer.get("bpp"),
        "overBudget": tokenizer.get("over_budget") or 0,
        "note": str(tokenizer.get("note") or ""),
        "license": str(tokenizer.get("license") or ""),
        "dataset": str(dataset["name"]),
        "n": n,
        "skipped": [{"id": str(s["id"]), "reason": str(s["reason"])} for s in dataset.get("skipped", [])][:100],
        "protocol": str(protocol["name"]),
        "resolution": protocol["resolution"],
        "measure": f"{dataset['name']}, {protocol['name']} at {protocol['resolution']} px",
        "group": sha256(f"{dataset['sha256']} {protocol['prepare']}".encode()).hexdigest()[:12],
        "run": {k: str(v) for k, v in result.get("run", {}).items()},
        "encode": per_image("encode"),
        "decode": per_image("decode"),
        "device": str(found.run.get("device", "")),
        "processor": str(found.run.get("machine", {}).get("processor", "")),
        "usage": (result["codebook"] or {}).get("usage"),
        "metrics": {m: _value(m, e) for m, e in result["metrics"].items() if m in METRICS},
    }


def _value(metric: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": entry["value"], "ci95": entry.get("ci95"), "n": entry["n"], "text": cell(metric, entry),
        "reliable": entry.get("reliable", True), "exact": entry.get("capped", 0) == entry["n"] > 0,
    }  # fmt: skip


def _records(found: Found, results: Results) -> dict[str, list[Any]] | None:
    """Columns: ids, captions, bits where they differ, near ties and the metrics, NaN as None."""
    import numpy as np
    from pyarrow import ArrowException, parquet

    path = found.folder / "records.parquet"
    try:
        table = parquet.read_table(path)
        columns = {"id": table.column("id").to_pylist(), "caption": table.column("caption").to_pylist()}
        for name in ("bits", "near_ties", *PER_IMAGE):
            if name in table.column_names:
                values = np.round(table.column(name).to_numpy().astype(np.float64), ROUNDED)
                listed = values.tolist()
                if not np.isfinite(values).all():
                    listed = [v if f else None for v, f in zip(listed, np.isfinite(values).tolist(), strict=True)]
                if name in ("bits", "near_ties"):
                    listed = [int(v) if v is not None and v == int(v) else v for v in listed]
                columns[name] = listed
    except (OSError, KeyError, ValueError, ArrowException) as error:
        results.problems.append({"what": f"{found.folder.name}/records.parquet", "why": str(error).splitlines()[0]})
        return None
    if len(set(columns.get("bits", ()))) == 1:
        del columns["bits"]  # the row says it
    return columns


def _write_samples(records: dict[str, list[Any]], scripts: Scripts) -> str:
    """Ids and captions, one file for all rows over the same samples; returns its name."""
    captions = records["caption"] if any(c is not None for c in records["caption"]) else None
    digest = sha256(json.dumps([records["id"], captions]).encode()).hexdigest()[:12]
    scripts.write(f"samples-{digest}", {"ids": records["id"], "captions": captions})
    return f"samples-{digest}"
