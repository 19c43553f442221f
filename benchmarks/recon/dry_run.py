"""`--dry-run`: what would run, what is missing, and about what it takes in disk, memory and time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmarks.speed.cost import Cost, cost, features_of, flops_a_second, scoring_flops
from lactok import registry, weights
from lactok.errors import UserError
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset
from lactok.evaluation.reconstruction import ReconstructionWork
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import Store
from lactok.metrics.registry import find
from lactok.weights import size_text

FIXED_MEMORY = 2e9  # libraries, the metrics' networks with their feature maps
FEATURE_BYTES = 4 * 2048  # of an image, about
UTILISATION = 0.4  # of the machine's convolution rate that whole networks reach, about


def plan(names: Sequence[str], dataset: Dataset, run: Run, out: Path) -> str:
    """A table with a row a tokenizer; nothing is downloaded or computed."""
    rate = flops_a_second(run.device) * UTILISATION
    n, pixels = len(dataset.samples), run.protocol.prepare.resolution**2
    features = len(features_of(run.protocol))
    needed = {asset.name: asset for m in run.protocol.score.metrics for asset in find(m).needs}
    downloads = sum(asset.size for asset in needed.values() if weights.locate(asset) is None)
    rows = []
    total_seconds = total_disk = 0.0
    unplanned = []
    for name in names:
        try:
            spec = registry.tokenizer_spec(name)
        except UserError as error:  # a broken plug-in must not hide the others
            unplanned.append(f"cannot run: {error}")
            continue
        missing = [a for a in spec.assets if weights.locate(a) is None]
        downloads += sum(a.size for a in missing)
        try:
            price = cost(name)
        except Exception as error:  # an adapter that computes outside torch, or one with a bug
            unplanned.append(f"cost unknown: {name}: {type(error).__name__} on the meta device; see --check {name}")
            price = Cost(0, 0.0, 0.0)
        left = n if missing else _left(name, dataset, run, out)
        seconds = left * (price.encode_flops + price.decode_flops + scoring_flops(run.protocol)) / rate
        disk = left * (8 * len(run.protocol.score.metrics) + 4 * (spec.tokens or 0) + FEATURE_BYTES * features)
        memory = FIXED_MEMORY + 4 * price.parameters + 64 * 3 * pixels + run.micro_batch * _activations(price, pixels)
        total_seconds, total_disk = total_seconds + seconds, total_disk + disk
        rows.append(
            [
                spec.name,
                weights.state(spec.assets),
                f"{left} of {n}",
                size_text(disk),
                size_text(memory),
                _duration(seconds),
            ]
        )
    head = ["tokenizer", "weights", "images to do", "disk", "memory", "time"]
    lines = [
        f"would run on {dataset.name} ({n} images), protocol {run.protocol.name} "
        f"at {run.protocol.prepare.resolution} px, into {out}:",
        tabulate(rows, head, tablefmt="simple", disable_numparse=True),
        f"in all about {_duration(total_seconds)}, {size_text(total_disk)} of disk, {size_text(downloads)} of "
        "downloads; times are estimated from FLOPs and may be off by two or three",
        "where weights come from: python -m lactok.weights list",
        *unplanned,
    ]
    return "\n".join(lines)


def _left(name: str, dataset: Dataset, run: Run, out: Path) -> int:
    if not (out / "store").is_dir():
        return len(dataset.samples)
    work = ReconstructionWork(TokenizerSource(name), run, Store(out))
    return sum(len(s) for s in dataset.shards() if not work.is_finished(s))


def _activations(price: Cost, pixels: int) -> float:
    """Bytes an image, about: the metrics' feature maps, and a megabyte for each GFLOP of a decoder's step."""
    return 4.0 * 64 * pixels + price.step_flops * 1.2e-3


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
