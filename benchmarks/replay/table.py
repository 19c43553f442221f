"""The table of a replay: a row for each protocol, with what it does, the measured numbers and the published ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks import published
from benchmarks.published import Claim
from lactok import registry
from lactok.errors import disk_errors
from lactok.evaluation.config import Settings
from lactok.evaluation.datasets import PUBLISHED, Dataset
from lactok.evaluation.measuring import Outcome
from lactok.evaluation.protocol import digest, protocols
from lactok.evaluation.results import ReconResult
from lactok.evaluation.table import metrics_of, number
from lactok.evaluation.writing import folder_name, to_json
from lactok.files import write_atomically

NO_PROTOCOL = "none here"


def write(
    tokenizer: str, found: Mapping[str, Outcome], data: Dataset, settings: Settings, unfit: Mapping[str, str]
) -> tuple[str, Path]:
    """Write the table as Markdown and JSON into the folder of results.

    Args:
        tokenizer: the tokenizer's name.
        found: what became of each protocol.
        data: the photographs.
        settings: the settings.
        unfit: protocols that do not fit the tokenizer, with the reason.

    Returns:
        The text, and the path of the Markdown file.
    """
    results = {name: outcome.results[0] for name, outcome in found.items() if outcome.results}
    label = registry.tokenizer_spec(tokenizer).name
    claims = claims_of(label, data)
    text = markdown(label, results, claims, data, unfit)
    hashes = digest([[r.data.protocol.prepare, r.data.protocol.score] for r in results.values()])[:8]
    limit, seed = settings.limit, settings.seed
    name = folder_name(f"replay-{label}", data.name, hashes, limit=limit, dtype=settings.dtype, seed=seed)
    path = Path(settings.out) / f"{name}.md"
    with disk_errors(path):
        write_atomically(path, text.encode("utf-8", "replace"))
        write_atomically(path.with_suffix(".json"), to_json(as_data(label, results, claims, data, unfit)))
    return text, path


def claims_of(label: str, data: Dataset) -> list[Claim]:
    """Return the published numbers of a tokenizer on a data set; on ImageNet, where the data set is somebody's own.

    A name with options has numbers of its own (LlamaGen at 384 px), or else those of the tokenizer without them.
    """
    dataset = data.name if data.name in PUBLISHED else "imagenet"
    of_data = [c for c in published.claims() if c.dataset == dataset]
    exact = [c for c in of_data if c.tokenizer == label]
    return exact or [c for c in of_data if c.tokenizer == label.partition("@")[0]]


def ids_digest(result: ReconResult) -> str:
    """Return eight digits of the hash of the ids that a result was decoded from, "-" for a tokenizer without ids."""
    path = result.folder / "tokens.npz"
    if not path.is_file():
        return "-"
    with np.load(path) as stored:
        return hashlib.sha256(np.ascontiguousarray(stored["ids"]).tobytes()).hexdigest()[:8]


def published_texts(claims: Sequence[Claim], protocol: str) -> list[str]:
    """Return the published numbers that belong to a protocol, as "rFID 1.71 [2]" with the number of the source."""
    sources = list(dict.fromkeys(claim.source for claim in claims))
    return [f"{_title(c)} {c.value:g} [{sources.index(c.source) + 1}]" for c in claims if c.protocol == protocol]


def _title(claim: Claim) -> str:
    """Return the name of a published number's metric as tables write it."""
    return {"rfid": "rFID", "inception_score": "IS"}.get(claim.metric, claim.metric.upper())


def markdown(
    label: str,
    results: Mapping[str, ReconResult],
    claims: Sequence[Claim],
    data: Dataset,
    unfit: Mapping[str, str],
) -> str:
    """Return the table as Markdown, with the sources of the published numbers and what each protocol does."""
    metrics = metrics_of(list(results.values()))
    heads = ["protocol", "references", "ids", *(m.head for m in metrics), "n", "published"]
    rows = []
    for name, result in results.items():
        values = [number(m, result.metrics.get(m.key)) for m in metrics]
        told = "; ".join(published_texts(claims, name)) or "-"
        size = result.data.protocol.size_text
        rows.append([name, size, ids_digest(result), *values, str(result.n), told])
    for name in dict.fromkeys(c.protocol for c in claims):
        if name not in results:
            told = "; ".join(published_texts(claims, name))
            rows.append([name or NO_PROTOCOL, "-", "-", *("-" for _ in metrics), "-", told])
    align = ["left"] * 3 + ["right"] * (len(metrics) + 1) + ["left"]
    table = tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    return f"# {label} under {len(results)} protocols, {data.name}\n\n{table}\n\n{_notes(results, claims, data, unfit)}"


def _notes(results: Mapping[str, ReconResult], claims: Sequence[Claim], data: Dataset, unfit: Mapping[str, str]) -> str:
    """Return the notes below the table."""
    known = protocols()
    notes = ["rows with the same ids were decoded from the very same ids; a protocol alone makes their difference"]
    if claims:
        of = claims[0].dataset
        size = PUBLISHED[of].size
        notes.append(f"published numbers are of {of}, {size} images; measured ones of {data.name}, as many as n says")
    if any(r[m].reliable is False for r in results.values() for m in r.metrics):
        notes.append("~: a distance of fewer than 2049 images, biased upwards and not comparable with published ones")
    notes += [f"[{i}] {s}" for i, s in enumerate(dict.fromkeys(c.source for c in claims), 1)]
    for claim in claims:
        if claim.note:
            notes.append(f"{_title(claim)} {claim.value:g} instead of {claim.instead_of:g}: {claim.note}")
    named = [*results, *(c.protocol for c in claims if c.protocol and c.protocol not in results)]
    notes += [f"{name}: {known[name].note}" for name in dict.fromkeys(named)]
    notes += [f"not measured: {name}: {why}" for name, why in unfit.items()]
    return "".join(f"- {note}\n" for note in notes)


def as_data(
    label: str,
    results: Mapping[str, ReconResult],
    claims: Sequence[Claim],
    data: Dataset,
    unfit: Mapping[str, str],
) -> dict[str, Any]:
    """Return the table as JSON holds it, with all digits."""
    rows = []
    for name, result in results.items():
        stored, one = result.data.protocol, protocols()[name]
        rows.append(
            {
                "protocol": name,
                "tokenizer": result.label,
                "prepare": stored.prepare,
                "score": stored.score,
                "references": stored.size_text,
                "ids": ids_digest(result),
                "n": result.n,
                "metrics": {key: entry.model_dump(exclude_unset=True) for key, entry in result.metrics.items()},
                "source": one.source,
                "note": one.note,
                "result": result.name,
            }
        )
    return {
        "schema": 1,
        "tokenizer": label,
        "dataset": {"name": data.name, "images": len(data.samples)},
        "rows": rows,
        "published": [vars(claim) for claim in claims],
        "not_measured": dict(unfit),
    }
