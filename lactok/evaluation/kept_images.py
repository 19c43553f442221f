"""Pictures of a run: which samples' reconstructions are kept, and where they and the prepared photographs lie.

`<row>/images/<file>.png` are reconstructions, `<out>/references/<dataset>__<prepare>/<file>.png` the prepared
photographs, one for all rows. `<row>/images/index.json` names them:

    {"pictures": [{"sample": id, "file": "x.png", "why": ["chosen" | "best" | "worst", ...]}, ...],
     "references": "<dataset>__<prepare>"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from lactok.errors import disk_errors
from lactok.evaluation.datasets import EXTENSIONS, Dataset, Sample
from lactok.evaluation.protocol import METRICS, digest
from lactok.evaluation.results import to_json
from lactok.evaluation.shards import ShardKeys, picture_key, prepared_key
from lactok.evaluation.sources import Row, Run
from lactok.evaluation.store import Store, folder_safe, write_atomically

EXTREMES = 3  # best ones, and as many worst
RANKED_BY = ("lpips_alex", "lpips_vgg", "psnr")  # the first that was measured


def chosen(dataset: Dataset, count: int | None) -> frozenset[str]:
    """Ids of the `count` samples of lowest hash, of all for None: the same ones for every row."""
    return frozenset(s.id for s in dataset.limited(count).samples) if count != 0 else frozenset()


def reasons(
    kept: frozenset[str], shards: Sequence[Sequence[Sample]], keys: Sequence[ShardKeys], run: Run, store: Store
) -> dict[str, list[str]]:
    """Sample id -> why its pictures are kept: the chosen ones, and the best and worst of a row's finished shards."""
    why: dict[str, list[str]] = {s.id: ["chosen"] for shard in shards for s in shard if s.id in kept}
    best, worst = _extremes(shards, keys, run, store)
    for reason, found in (("best", best), ("worst", worst)):
        for identifier in found:
            why.setdefault(identifier, []).append(reason)
    return why


def _extremes(
    shards: Sequence[Sequence[Sample]], keys: Sequence[ShardKeys], run: Run, store: Store
) -> tuple[list[str], list[str]]:
    """Ids of the best samples and of the worst; none without a metric of `RANKED_BY`."""
    metric = next((m for m in RANKED_BY if m in run.protocol.score.metrics), None)
    if metric is None:
        return [], []
    sign = -1.0 if METRICS[metric] else 1.0
    ranked: list[tuple[float, str]] = []
    for samples, key in zip(shards, keys, strict=True):
        scores = store.need("scores", key.scores, ["index", metric])
        for i, value in zip(scores["index"].tolist(), scores.get(metric, np.zeros(0)).tolist(), strict=True):
            if np.isfinite(value):
                ranked.append((sign * value, samples[i].id))
    ranked.sort()
    names = [identifier for _, identifier in ranked]
    return names[:EXTREMES], names[-EXTREMES:]


def file_name(sample: Sample) -> str:
    """Safe in every file system, and of this id and this photograph alone: the same for all rows."""
    path = PurePosixPath(sample.id)
    stem = sample.id.removesuffix(path.suffix) if path.suffix.lower() in EXTENSIONS else sample.id
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", stem)[-80:].lstrip(".-")
    return f"{safe or 'sample'}-{digest([sample.id, sample.sha256])[:12]}.png"


def references_name(dataset: Dataset, run: Run) -> str:
    return f"{folder_safe(dataset.name)}__{run.protocol.prepare_hash}"


def publish(folder: Path, row: Row, dataset: Dataset, run: Run, store: Store, why: Mapping[str, Sequence[str]]) -> None:
    """Make `folder`/images exactly the stored pictures of the samples in `why`, with their index, and add the
    prepared photographs to the references beside `folder`.

    A sample without a stored picture, since it could not be read, is left out.
    """
    references = references_name(dataset, run)
    index = []
    with disk_errors(folder):
        for shard in dataset.shards():
            wanted = [s for s in shard if s.id in why]
            ids_key = row.key(shard, run) if wanted else ""
            for sample in wanted:
                made, name = picture_key(ids_key, run, sample), file_name(sample)
                if store.picture(made).is_file():
                    store.publish(made, folder / "images" / name)
                    store.publish(prepared_key(run, sample), folder.parent / "references" / references / name)
                    index.append({"sample": sample.id, "file": name, "why": list(why[sample.id])})
        write_atomically(folder / "images" / "index.json", to_json({"pictures": index, "references": references}))
        named = {str(entry["file"]) for entry in index}
        for path in (folder / "images").glob("*.png"):
            if path.name not in named:
                path.unlink(missing_ok=True)
