"""Images of a run: which samples' reconstructions are kept, and where they and the prepared photographs lie.

`<result>/images/<file>.png` are reconstructions, `<out>/references/<dataset>__<prepare>/<file>.png` the prepared
photographs, one for all sources. `<result>/images/index.json` names them:

    {"pictures": [{"sample": id, "file": "x.png", "why": ["chosen" | "best" | "worst", ...]}, ...],
     "references": "<dataset>__<prepare>"}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lactok.errors import disk_errors
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.reconstruction import ReconstructionWork, ShardKeys, picture_key, prepared_key, ranked_samples
from lactok.evaluation.store import folder_safe, write_atomically
from lactok.evaluation.writing import to_json
from lactok.images import EXTENSIONS


def chosen(dataset: Dataset, count: int | None) -> frozenset[str]:
    """Ids of the `count` samples of lowest hash, of all for None: the same ones for every source."""
    return frozenset(s.id for s in dataset.limited(count).samples) if count != 0 else frozenset()


def reasons(work: ReconstructionWork, dataset: Dataset, keys: Sequence[ShardKeys]) -> dict[str, list[str]]:
    """Sample id -> why its images are kept: the chosen ones, and the best and worst of all finished shards."""
    why: dict[str, list[str]] = {s.id: ["chosen"] for s in dataset.samples if s.id in work.pictured}
    best, worst = ranked_samples(list(dataset.shards()), keys, work.run, work.store)
    for reason, found in (("best", best), ("worst", worst)):
        for identifier in found:
            why.setdefault(identifier, []).append(reason)
    return why


def file_name(sample: Sample) -> str:
    """Safe in every file system, and of this id and this photograph alone: the same for all rows."""
    path = PurePosixPath(sample.id)
    stem = sample.id.removesuffix(path.suffix) if path.suffix.lower() in EXTENSIONS else sample.id
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", stem)[-80:].lstrip(".-")
    return f"{safe or 'sample'}-{digest([sample.id, sample.sha256])[:12]}.png"


def references_name(dataset: Dataset, run: Run) -> str:
    return f"{folder_safe(dataset.name)}__{run.protocol.prepare_hash}"


def publish(folder: Path, work: ReconstructionWork, dataset: Dataset, keys: Sequence[ShardKeys]) -> None:
    """Make `folder`/images exactly the stored images of the chosen, best and worst samples, with their index, and add
    the prepared photographs to the references beside `folder`.

    A sample without a stored image, since it could not be read, is left out.
    """
    why, run, store = reasons(work, dataset, keys), work.run, work.store
    references = references_name(dataset, run)
    index = []
    with disk_errors(folder):
        for shard in dataset.shards():
            wanted = [s for s in shard if s.id in why]
            ids_key = work.source.key(shard, run) if wanted else ""
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
