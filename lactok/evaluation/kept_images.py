"""The images of a result: of which samples they are kept, and where they lie.

`<result>/images/<file>.png` are reconstructions. `<out>/references/<dataset>__<prepare>/<file>.png` are the prepared
photographs, which the results of all tokenizers share. `<result>/images/index.json` names both:

    {"pictures": [{"sample": id, "file": "x.png", "why": ["chosen" | "best" | "worst", ...]}, ...],
     "references": "<dataset>__<prepare>"}

With the metric `error_profile` there are further reasons: "worst brightness", "worst colour", "worst detail".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lactok.errors import disk_errors
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.ranked import Ranked
from lactok.evaluation.reconstruction import ReconstructionWork, ShardKeys, picture_key, prepared_key
from lactok.evaluation.shards import run_shards
from lactok.evaluation.store import folder_safe
from lactok.evaluation.writing import to_json
from lactok.files import write_atomically
from lactok.images import EXTENSIONS

_OURS = re.compile(r".+-[0-9a-f]{12}\.png", re.DOTALL)  # the names that `file_name` gives


def chosen_ids(dataset: Dataset, count: int | None) -> frozenset[str]:
    """Return the ids of a fixed random choice of `count` samples, of all for None; the same ones for every source."""
    if count == 0:
        return frozenset()
    return frozenset(sample.id for sample in dataset.limited(count).samples)


def reasons(work: ReconstructionWork, dataset: Dataset, keys: Sequence[ShardKeys]) -> dict[str, list[str]]:
    """Return why the images of samples are kept: sample id -> "chosen", "best", "worst" or several such reasons.

    Args:
        work: whose `pictured` are the chosen samples.
        dataset: the samples.
        keys: where the finished shards lie, in order.
    """
    why: dict[str, list[str]] = {s.id: ["chosen"] for s in dataset.samples if s.id in work.pictured}
    ranked = Ranked(work.run.protocol.score.metrics)
    for samples, key in zip(dataset.shards(), keys, strict=True):
        scores = work.store.need("scores", key.scores, ["index", *ranked.arrays])
        ranked.add([samples[i].id for i in scores.pop("index").tolist()], scores)
    for reason, names in ranked.reasons().items():
        for identifier in names:
            why.setdefault(identifier, []).append(reason)
    return why


def file_name(sample: Sample) -> str:
    """Return the file name of a sample's images: safe in every file system, and another for another photograph."""
    path = PurePosixPath(sample.id)
    stem = sample.id.removesuffix(path.suffix) if path.suffix.lower() in EXTENSIONS else sample.id
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", stem)[-80:].lstrip(".-")
    return f"{safe or 'sample'}-{digest([sample.id, sample.sha256])[:12]}.png"


def references_name(dataset: Dataset, run: Run) -> str:
    """Return the name of the folder of a data set's prepared photographs."""
    return f"{folder_safe(dataset.name)}__{run.protocol.prepare_hash}"


def publish(folder: Path, work: ReconstructionWork, dataset: Dataset, keys: Sequence[ShardKeys]) -> None:
    """Bring the images of the chosen, best and worst samples from the store into a result's folder.

    Afterwards `folder`/images holds these reconstructions, none of an earlier run, and their index; the folder of
    references, beside `folder`, holds the prepared photographs. What others put there stays. A
    sample whose photograph could not be read is left out.

    Args:
        folder: the result's folder.
        work: whose `pictured` are the chosen samples.
        dataset: the samples.
        keys: where the finished shards lie, in order.
    """
    why, run, store = reasons(work, dataset, keys), work.run, work.store
    references = references_name(dataset, run)
    # of a run that was broken off, or of which a picture was lost
    complete = replace(work, pictured=frozenset(why))
    lacking = [s for s in dataset.shards() if any(i.id in why for i in s) and not complete.is_finished(s)]
    if lacking:
        run_shards(complete, lacking)
    index = []
    with disk_errors(folder):
        for shard in dataset.shards():
            wanted = [sample for sample in shard if sample.id in why]
            if not wanted:
                continue
            ids_key = work.source.key(shard, run)
            for sample in wanted:
                reconstruction, name = picture_key(ids_key, run, sample), file_name(sample)
                if store.has_picture(reconstruction):
                    store.publish(reconstruction, folder / "images" / name)
                    store.publish(prepared_key(run, sample), folder.parent / "references" / references / name)
                    index.append({"sample": sample.id, "file": name, "why": list(why[sample.id])})
        write_atomically(folder / "images" / "index.json", to_json({"pictures": index, "references": references}))
        named = {str(entry["file"]) for entry in index}
        for path in (folder / "images").glob("*.png"):
            if path.name not in named and _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
