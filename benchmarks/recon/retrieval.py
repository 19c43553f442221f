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

from benchmarks.recon import pairs
from lactok.command import command
from lactok.errors import UserError, WrongValue, disk_errors
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    import numpy as np

    from lactok.evaluation.config import Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.sources import Source
    from lactok.evaluation.store import Store
    from lactok.metrics.registry import Metric


def has_features(metric: Metric) -> bool:
    """Whether a metric keeps the features by which reconstructions look for their originals."""
    from lactok.metrics.inception_features import INCEPTION_TF1
    from lactok.metrics.registry import DistanceMetric

    return isinstance(metric, DistanceMetric) and metric.features.name == INCEPTION_TF1.name


def check_metrics(run: Run) -> None:
    """Raise WrongValue where no metric of the run keeps the features that are needed."""
    from lactok.metrics.registry import find, known

    if not any(has_features(find(key)) for key in run.protocol.score.metrics):
        others = " or ".join(metric.key for metric in known() if has_features(metric))
        raise WrongValue(f"`metrics`: retrieval needs the features of {others}; name one of them")


def stored_features(source: Source, dataset: Dataset, run: Run, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Features of a finished source's reconstructions and of their originals, both (N, 2048)."""
    import numpy as np

    from lactok.evaluation.reconstruction import ReconstructionWork
    from lactok.metrics.inception_features import INCEPTION_TF1

    work, name = ReconstructionWork(source, run, store), INCEPTION_TF1.name
    outputs, references = [], []
    for samples in dataset.shards():
        keys = work.keys(samples)
        if keys is None:
            raise UserError(f"{source.name}: a finished shard in {store.root} was lost; run the same command again")
        scores = store.need("scores", keys.scores, ["index", name])
        reference = store.need("reference", keys.reference, ["index", name])
        if len(scores["index"]):
            outputs.append(scores[name])
            references.append(reference[name][np.searchsorted(reference["index"], scores["index"])])
    return np.concatenate(outputs), np.concatenate(references)


def standing(source: Source, dataset: Dataset, run: Run, store: Store) -> dict[str, Any]:
    """Of a finished source: `right`, the share whose nearest original is its own, and `rank`, the mean of ranks."""
    from lactok.evaluation.statistics import mean_with_interval
    from lactok.metrics.retrieval import ranks

    found = ranks(*stored_features(source, dataset, run, store))
    n = len(found)
    entries: dict[str, Any] = {"name": source.name, "n": n}
    for key, values, chance in (("right", found == 0, 1 / n), ("rank", found, (n - 1) / 2)):
        mean, interval = mean_with_interval(values.astype(float))
        entries[key] = {"value": mean, "ci95": interval, "chance": chance}
    return entries


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line a source, as Markdown."""
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
    args = pairs.parser("retrieval", (__doc__ or "").split("\n\n")[1]).parse_args(argv)
    settings = Settings.of(vars(args))
    names = pairs.checked_names(args.tokenizers, settings, "all images are looked through at once")
    settings.use_machine()
    from lactok.evaluation.evaluate import metric_networks, said
    from lactok.evaluation.store import Store, write_atomically
    from lactok.evaluation.writing import folder_name, to_json

    run = settings.run()
    check_metrics(run)
    dataset, out = settings.data(), Path(settings.out)
    found = pairs.measured(names, dataset, run, settings)
    if sources := found.finished():
        run, store = replace(run, networks=metric_networks(run)), Store(out)
        entries = [standing(source, dataset, run, store) for source in sources]
        hashes = f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"
        name = folder_name(
            "retrieval", dataset.name, hashes, limit=settings.limit, dtype=settings.dtype, seed=settings.seed
        )
        path = out / f"{name}.json"
        with disk_errors(path):
            write_atomically(path, to_json(entries))
        print(f"\n{found.head()}\n\n{table(entries)}\nwritten: {path}")
    return said(found.outcome.missing, found.outcome.failed, strict=True)


if __name__ == "__main__":
    main()
