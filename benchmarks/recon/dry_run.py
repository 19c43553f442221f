"""`--dry-run`: what would run, what is missing, and roughly what it would take in disk, memory and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks.speed.cost import Cost, cost, features_of, flops_a_second, scoring_flops
from lactok import registry, weights
from lactok.command import as_flags
from lactok.errors import UserError
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import SHARD, Dataset
from lactok.evaluation.progress import duration
from lactok.evaluation.reconstruction import ReconstructionWork
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import Store
from lactok.fitting import refusal
from lactok.metrics.registry import find
from lactok.specs import TokenizerSpec
from lactok.weights import size_text

FIXED_MEMORY = 2e9  # bytes: the libraries, and the metrics' networks with their feature maps
FEATURE_BYTES = 4 * 2048  # bytes that a metric's features take per image, roughly
UTILISATION = 0.4  # share of the machine's convolution rate that whole networks reach, roughly


@dataclass(frozen=True)
class Estimate:
    """What one tokenizer would take, roughly.

    Attributes:
        images: how many images are left to do.
        disk: bytes that the store would grow by.
        memory: bytes.
        seconds: time on this machine.
    """

    images: int
    disk: float
    memory: float
    seconds: float


def plan(names: Sequence[str], dataset: Dataset, run: Run, out: Path) -> str:
    """Return a table with a row per tokenizer, the totals, and what cannot run; nothing is downloaded or measured.

    Args:
        names: tokenizers, as they are asked for.
        out: folder of the results and the store.
    """
    rate = flops_a_second(run.device) * UTILISATION
    n = len(dataset.samples)
    wanted = {asset.name: asset for key in run.protocol.score.metrics for asset in find(key).needs}
    rows = []
    without_source = []
    total_seconds = total_disk = 0.0
    remarks = []
    for given in names:
        try:
            name = run.protocol.tokenizer_name(given)
            spec = registry.tokenizer_spec(name)
        except UserError as error:  # a broken plug-in must not hide the others
            remarks.append(f"cannot run: {error}")
            continue
        unfit = refusal(spec, run.protocol.prepare)
        if unfit:
            remarks.append(f"cannot run: {unfit}")
            continue
        try:
            price = cost(name)
        except Exception as error:  # an adapter that computes outside torch, or one with a bug
            remarks.append(f"cost unknown: {name}: {type(error).__name__} on the meta device; see --check {name}")
            price = Cost(0, 0.0, 0.0)
        missing = [asset for asset in spec.assets if weights.seen(asset) is None]
        # results are stored under the hash of the weights; without them, no image is known to be finished
        images = n if missing else _images_left(name, dataset, run, out)
        estimate = _estimate(spec, price, images, run, rate)
        if any(not asset.sources for asset in missing):
            without_source.append(spec.name)
        else:  # what several need is fetched once
            wanted |= {asset.name: asset for asset in spec.assets}
            total_seconds += estimate.seconds
            total_disk += estimate.disk
        rows.append(
            [
                spec.name,
                weights.state(spec.assets),
                f"{estimate.images} of {n}",
                size_text(estimate.disk),
                size_text(estimate.memory),
                duration(estimate.seconds),
            ]
        )
    head = ["tokenizer", "weights", "images to do", "disk", "memory", "time"]
    downloads = sum(asset.size for asset in wanted.values() if weights.seen(asset) is None)
    if without_source:
        remarks.append(
            f"left out of the sums, since nobody publishes their weights: {', '.join(without_source)}; train your own, "
            "and put them into a folder named by `weights`"
        )
    lines = [
        f"would run on {dataset.name} ({n} images), protocol {run.protocol.name} "
        f"at {run.protocol.prepare.size_text}, into {out}:",
        tabulate(rows, head, tablefmt="simple", disable_numparse=True),
        f"in all about {duration(total_seconds)}, {size_text(total_disk)} of disk, {size_text(downloads)} of "
        "downloads; times are estimated from FLOPs and may be off by two or three",
        "where weights come from: python -m lactok.weights list",
        *map(as_flags, remarks),
    ]
    return "\n".join(lines)


def _images_left(name: str, dataset: Dataset, run: Run, out: Path) -> int:
    """Return how many images a tokenizer has not finished in the store of `out`."""
    if not (out / "store").is_dir():
        return len(dataset.samples)
    work = ReconstructionWork(TokenizerSource(name), run, Store(out))
    return sum(len(samples) for samples in dataset.shards() if not work.is_finished(samples))


def _estimate(spec: TokenizerSpec, price: Cost, images: int, run: Run, rate: float) -> Estimate:
    """Estimate what a tokenizer takes for a number of images.

    Args:
        price: parameters and FLOPs of the tokenizer.
        rate: FLOPs per second that this machine reaches.
    """
    pixels = run.protocol.prepare.rough_pixels
    flops = price.encode_flops + price.decode_flops + scoring_flops(run.protocol)
    metric_bytes = 8 * len(run.protocol.score.metrics)
    id_bytes = 4 * (spec.tokens or 0)
    feature_bytes = FEATURE_BYTES * len(features_of(run.protocol))
    shard_bytes = SHARD * 3 * pixels  # the images of a shard as uint8 RGB
    return Estimate(
        images=images,
        disk=images * (metric_bytes + id_bytes + feature_bytes),
        memory=FIXED_MEMORY + 4 * price.parameters + shard_bytes + run.micro_batch * _activation_bytes(price, pixels),
        seconds=images * flops / rate,
    )


def _activation_bytes(price: Cost, pixels: int) -> float:
    """Return bytes per image, roughly: 64 float32 feature maps in the metrics, 1.2 MB per GFLOP of a decoder step."""
    return 4.0 * 64 * pixels + price.step_flops * 1.2e-3
