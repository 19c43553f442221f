"""Write what the probes found as a result's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.probe.autoregressive import FEWEST
from benchmarks.probe.model import parameters
from benchmarks.probe.work import Asked, Found
from lactok.evaluation.config import Run
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ProbeResult
from lactok.evaluation.schema import as_data
from lactok.evaluation.statistics import mean_entry
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import folder_name, write_result

LIBRARIES = ("torch", "scikit-learn", "scipy", "numpy")
TEXTS = ("label", "named", "named_by_vectors", "part")  # columns of the records


def write(found: Found, asked: Asked, run: Run, out: Path, timer: Timer) -> ProbeResult:
    """Write the result's folder and return the result.

    Args:
        found: what the probes found of a row.
        asked: what was asked of all rows.
        run: the device and the number of threads.
        out: the folder of results.
        timer: the times.

    Raises:
        DiskError: the folder cannot be written to.
    """
    row, stored = found.row, as_data(found.row.stored.data)
    budget = asked.budget.settings()
    labels = found.classes.sha256 if found.classes is not None else None
    settings = digest([budget, labels, asked.vectors])[:8]
    content = {
        "suite": "probe",
        "limit": stored["limit"],
        "tokenizer": stored["tokenizer"],
        "dataset": stored["dataset"],
        "prepare": stored["protocol"]["prepare"],
        "run": stored["run"] | {"device": run.device_kind},
        "probe": {
            "hash": settings,
            "budget": budget,
            "parameters": parameters(asked.budget),
            "ids_sha256": row.sha256,
        },
        "labels": _labels(found),
        "split": _split(found, asked),
        "metrics": _metrics(found, asked),
    }
    name = folder_name(
        row.stored.label,
        row.stored.dataset,
        f"{stored['protocol']['prepare']}-{settings}",
        limit=row.stored.limit,
        dtype=row.stored.dtype,
        seed=row.stored.seed,
        more="probe",
    )
    return ProbeResult(out / name, write_result(out / name, content, _records(found), run, timer, LIBRARIES, TEXTS))


def _labels(found: Found) -> dict[str, Any] | None:
    """Return the part `labels`, None without a linear probe."""
    classes = found.classes
    if classes is None:
        return None
    return {
        "source": found.source,
        "sha256": classes.sha256,
        "classes": classes.different,
        "n": len(classes.chosen),
        "chance": classes.chance,
        "left_out": list(classes.left_out),
        "without_label": classes.without_label,
    }


def _split(found: Found, asked: Asked) -> dict[str, Any] | None:
    """Return the part `split`, None where no model was trained."""
    if found.split is None or found.learned is None:
        return None
    layout, split = found.row.layout, found.split
    per_level = found.learned.bits.mean(0) / np.array(layout.levels)
    return {
        "training": len(split.training),
        "validation": len(split.validation),
        "held_out": len(split.held_out),
        "base": layout.alphabet.base,
        "digits": layout.alphabet.digits,
        "symbols": layout.length,
        "passes": asked.budget.steps * asked.budget.step_symbols / (len(split.training) * layout.length),
        "step": found.learned.step,
        "level_bits": per_level.tolist(),
    }


def _metrics(found: Found, asked: Asked) -> dict[str, Any]:
    """Return the entries of the figures, with the reason where one has no value."""

    def accuracy(named: np.ndarray | None, reason: str) -> dict[str, Any]:
        if named is None or found.classes is None:
            return {"value": None, "ci95": None, "n": 0, "reason": reason}
        right = (named == np.array(found.classes.names)).astype(np.float64)
        return mean_entry(right, found.classes.contents)

    metrics = {"probe_accuracy": accuracy(found.named, found.no_classes)}
    if asked.vectors:
        metrics["vector_accuracy"] = accuracy(found.by_vectors, found.no_vectors or found.no_classes)
    keys = ("bits_per_id", "bits_per_image", "share_of_raw_bits")
    if found.learned is None or found.split is None:
        reason = f"an autoregressive model needs {FEWEST} different photographs or more"
        return metrics | {key: {"value": None, "ci95": None, "n": 0, "reason": reason} for key in keys}
    row, bits = found.row, found.learned.bits.sum(1)
    copies = [row.contents[i] for i in found.split.held_out]  # copies of a photograph count as one for the interval
    of_each = (bits / row.ids.shape[1], bits, bits / row.raw_bits if row.raw_bits else np.full(len(bits), np.nan))
    return metrics | {key: mean_entry(values, copies) for key, values in zip(keys, of_each, strict=True)}


def _records(found: Found) -> dict[str, list[Any]]:
    """Return the columns of the records, a value for each photograph, None where it has none."""
    row = found.row
    columns: dict[str, list[Any]] = {"id": list(row.samples), "sha256": list(row.contents)}

    def column(places: np.ndarray, values: Any) -> list[Any]:
        known = dict(zip(places.tolist(), values, strict=True))
        return [known.get(i) for i in range(len(row.samples))]

    if found.classes is not None:
        chosen = found.classes.chosen
        columns["label"] = column(chosen, found.classes.names)
        for name, named in (("named", found.named), ("named_by_vectors", found.by_vectors)):
            if named is not None:
                columns[name] = column(chosen, named.tolist())
    if found.split is not None and found.learned is not None:
        columns["part"] = found.split.names
        columns["bits"] = column(found.split.held_out, found.learned.bits.sum(1).tolist())
    return columns
