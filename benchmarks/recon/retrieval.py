"""`python -m benchmarks.recon.retrieval`: whether reconstructions still show what the photographs show.

Each reconstruction looks for the nearest of all originals, by the cosine distance of FID's pooled Inception features
(2048 channels). Two numbers come out: the share of reconstructions whose nearest original is their own ("right"), and
the mean number of other originals that are nearer than it ("rank"). They stand beside what chance would give, and
beside the same numbers for reconstructions from the ids of the next photograph, see `benchmarks.recon.exchange`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recon import pairs
from lactok.command import command
from lactok.errors import UserError, WrongValue
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    import numpy as np

    from lactok.evaluation.config import Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.sources import Source
    from lactok.evaluation.store import Store
    from lactok.metrics.registry import Metric

DESCRIPTION = (
    "Each reconstruction looks for the nearest of all originals by FID's Inception features (2048, pooled; cosine "
    "distance). The share of those that find their own, and how many others are nearer than it, are set beside "
    "chance, and beside the same with the ids of the next photograph, as `python -m benchmarks.recon.exchange` takes "
    "them."
)


def stores_inception_features(metric: Metric) -> bool:
    """Return whether computing this metric stores the features by which reconstructions look for their originals."""
    from lactok.metrics.inception_features import INCEPTION_TF1
    from lactok.metrics.registry import DistanceMetric

    return isinstance(metric, DistanceMetric) and metric.features.name == INCEPTION_TF1.name


def check_metrics(run: Run) -> None:
    """Raise WrongValue if no metric of the run stores the features that retrieval needs."""
    from lactok.metrics.registry import find, known

    if not any(stores_inception_features(find(key)) for key in run.protocol.score.metrics):
        suitable = " or ".join(metric.key for metric in known() if stores_inception_features(metric))
        raise WrongValue(f"`metrics`: retrieval needs the features of {suitable}; name one of them")


def stored_features(source: Source, dataset: Dataset, run: Run, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Read the features of a finished source's reconstructions and of their originals, both (N, 2048), row by row.

    Raises:
        UserError: the store has lost a shard that was finished.
    """
    import numpy as np

    from lactok.evaluation.reconstruction import ReconstructionWork, reference_layout, scores_layout
    from lactok.metrics.inception_features import INCEPTION_TF1

    work = ReconstructionWork(source, run, store)
    features = INCEPTION_TF1.name
    outputs, originals = [], []
    for samples in dataset.shards():
        keys = work.keys(samples)
        if keys is None:
            raise UserError(f"{source.name}: a finished shard in {store.root} was lost; run the same command again")
        of_outputs = store.need("scores", keys.scores, ["index", features], scores_layout(run, samples))
        of_originals = store.need("reference", keys.reference, ["index", features], reference_layout(run, samples))
        if len(of_outputs["index"]):
            outputs.append(of_outputs[features])
            # an image that has no output has an original all the same: take the rows of the same images
            rows = np.searchsorted(of_originals["index"], of_outputs["index"])
            originals.append(of_originals[features][rows])
    return np.concatenate(outputs), np.concatenate(originals)


def retrieval_scores(source: Source, dataset: Dataset, run: Run, store: Store) -> dict[str, Any]:
    """Return a finished source's entry: {"name", "n", "right", "rank"}.

    "right" is the share of reconstructions whose nearest original is their own; "rank" is the mean number of other
    originals that are nearer. Both are {"value", "ci95": [low, high], "chance"}.
    """
    from lactok.evaluation.statistics import mean_with_interval
    from lactok.metrics.retrieval import ranks

    outputs, originals = stored_features(source, dataset, run, store)
    rank = ranks(outputs, originals)
    n = len(rank)

    def with_chance(values: np.ndarray, chance: float) -> dict[str, Any]:
        """Return the mean of a value per image with its interval, and the mean that chance would give."""
        mean, interval = mean_with_interval(values.astype(float))
        return {"value": mean, "ci95": interval, "chance": chance}

    return {
        "name": source.name,
        "n": n,
        "right": with_chance(rank == 0, 1 / n),
        "rank": with_chance(rank, (n - 1) / 2),
    }


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a row per entry of `retrieval_scores`."""
    from tabulate import tabulate

    rows = []
    for entry in entries:
        row = [entry["name"]]
        for key, digits in (("right", 3), ("rank", 1)):
            value, chance = entry[key]["value"], entry[key]["chance"]
            low, high = entry[key]["ci95"] or (value, value)
            row += [f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})", f"{chance:.{digits}f}"]
        rows.append([*row, str(entry["n"])])
    head = ["tokenizer", "right ↑", "chance", "nearer originals ↓", "chance", "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 5)
    return f"{text}\n\nIn brackets the 95 % interval over images.\n"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed or lacks its weights."""
    args = pairs.parser("retrieval", DESCRIPTION).parse_args(argv)
    settings = Settings.of(vars(args))
    names = pairs.checked_names(args.tokenizers, settings, "all images are looked through at once")
    settings.use_machine()
    from lactok.evaluation.measuring import report_unfinished
    from lactok.evaluation.metric_networks import with_networks
    from lactok.evaluation.store import Store

    run = with_networks(settings.run(), settings.metrics)
    check_metrics(run)
    dataset, out = settings.data(), Path(settings.out)
    measured = pairs.measure_pairs(names, dataset, run, settings)
    sources = measured.finished()
    if sources:
        store = Store(out)
        entries = [retrieval_scores(source, dataset, run, store) for source in sources]
        path = pairs.write_entries("retrieval", entries, dataset, run, settings)
        print(f"\n{measured.heading()}\n\n{table(entries)}")
        for line in measured.left_out_lines():
            print(line)
        print(f"written: {path}")
    return report_unfinished(measured.outcome.missing, measured.outcome.failed, strict=True)


if __name__ == "__main__":
    main()
