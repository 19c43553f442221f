"""`python -m benchmarks.recon.retrieval`: whether reconstructions still show what the photographs show.

Each reconstruction looks for the nearest of all originals by FID's Inception features (2048, pooled; cosine distance).
The share of those that find their own, and how many others are nearer than it, are set beside chance, and beside the
same with the ids of the next photograph, as `python -m benchmarks.recon.exchange` takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recon import __main__ as recon
from benchmarks.recon.exchange import paired_rows
from lactok.command import Parser, command
from lactok.errors import UserError, disk_errors

if TYPE_CHECKING:
    import numpy as np

    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.sources import Row, Run
    from lactok.evaluation.store import Store

FEATURES = "inception_tf1"


def stored_features(row: Row, dataset: Dataset, run: Run, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Features of a finished row's reconstructions and of their originals, both (N, 2048)."""
    import numpy as np

    from lactok.evaluation.shards import Shard

    outputs, references = [], []
    for samples in dataset.shards():
        keys = Shard(row, samples, run, store).keys()
        if keys is None:
            raise UserError(f"{row.name}: a finished shard in {store.root} was lost; run the same command again")
        scores = store.need("scores", keys.scores, ["index", FEATURES])
        reference = store.need("reference", keys.reference, ["index", FEATURES])
        if len(scores["index"]):
            outputs.append(scores[FEATURES])
            references.append(reference[FEATURES][np.searchsorted(reference["index"], scores["index"])])
    return np.concatenate(outputs), np.concatenate(references)


def standing(row: Row, dataset: Dataset, run: Run, store: Store) -> dict[str, Any]:
    """Of a finished row: `right`, the share whose nearest original is its own, and `rank`, the mean of their ranks."""
    from lactok.evaluation.statistics import mean_with_interval
    from lactok.metrics.retrieval import ranks

    found = ranks(*stored_features(row, dataset, run, store))
    n = len(found)
    entries: dict[str, Any] = {"name": row.name, "n": n}
    for key, values, chance in (("right", found == 0, 1 / n), ("rank", found, (n - 1) / 2)):
        mean, interval = mean_with_interval(values.astype(float))
        entries[key] = {"value": mean, "ci95": interval, "chance": chance}
    return entries


def table(found: Sequence[dict[str, Any]]) -> str:
    from tabulate import tabulate

    rows = []
    for r in found:
        row = [r["name"]]
        for key, digits in (("right", 3), ("rank", 1)):
            entry = r[key]
            value, chance = entry["value"], entry["chance"]
            low, high = entry["ci95"] or (value, value)
            row += [f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})", f"{chance:.{digits}f}"]
        rows.append([*row, str(r["n"])])
    head = ["tokenizer", "right ↑", "chance", "nearer originals ↓", "chance", "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 5)
    return f"{text}\n\nIn brackets the 95 % bootstrap interval over images.\n"


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.recon.retrieval", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @")
    recon.run_options(parser)
    args = parser.parse_args(argv)
    from lactok import registry

    names = recon.split_names(args.tokenizers)
    for name in names:
        registry.tokenizer_spec(name)
    if args.part:
        raise UserError("--part: all images are looked through at once; leave it out")
    dataset, run = recon.configure(args)
    from lactok.evaluation.results import folder_name, to_json
    from lactok.evaluation.sources import EXCHANGED
    from lactok.evaluation.store import Store, write_atomically
    from lactok.metrics.scorer import FEATURES as NEEDED

    if FEATURES not in {NEEDED.get(m) for m in run.protocol.score.metrics}:
        raise UserError("--metrics: retrieval needs the features of rfid or kid; name one of them")
    there, rows, missing, failed = paired_rows(names, dataset)
    results = recon.run_rows(rows, dataset, run, args, failed)

    run, store = replace(run, networks=recon.metric_networks(run)), Store(Path(args.out))
    finished = {r["tokenizer"]["name"] for r in results}
    labels = [
        label
        for name in there
        for label in (registry.tokenizer_spec(name).name, registry.tokenizer_spec(name).name + EXCHANGED)
    ]
    done = [make() for make, label in zip(rows, labels, strict=True) if label in finished]
    found = [standing(row, dataset, run, store) for row in done]
    path = Path(args.out) / f"{folder_name('retrieval', dataset, run, args.limit)}.json"
    with disk_errors(path):
        write_atomically(path, to_json(found))
    print(f"\n{dataset.name}: {len(dataset.samples)} images, protocol {run.protocol.name}\n\n{table(found)}")
    print(f"written: {path}")
    return recon.exit_code(missing, failed, strict=True)


if __name__ == "__main__":
    main()
