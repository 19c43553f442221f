"""`python -m benchmarks.speed.suite` compares the CPU seconds of the suite and of a plain script, stage by stage."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import integer, whole
from lactok.evaluation.config import Settings


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed.suite",
        description="CPU seconds an image by stage, the suite against a plain script, in one run.",
    )
    p.add_argument("--images", type=integer, default=12, help="photographs of the sample set (default: %(default)s)")
    p.add_argument("--resolution", type=integer, default=1024)
    p.add_argument("--tokenizer", default="llamagen-vq16-tiny")
    return p


def run_suite(tokenizer: str, settings: Settings) -> tuple[dict[str, float], dict[str, Any]]:
    """Evaluate a tokenizer by the suite; return the CPU seconds by stage and the values of the metrics."""
    from lactok.evaluation.evaluate import metric_networks
    from lactok.evaluation.reconstruction import ReconstructionWork
    from lactok.evaluation.reconstruction_result import merge
    from lactok.evaluation.shards import run_shards
    from lactok.evaluation.sources import TokenizerSource
    from lactok.evaluation.store import Store
    from lactok.evaluation.timing import Timer
    from lactok.nn import inception, lpips

    run, dataset = settings.run(), settings.data()
    run = replace(run, networks=metric_networks(run))
    lpips.load_lpips("alex")  # load the networks before the clock starts
    inception.inception()
    with tempfile.TemporaryDirectory() as scratch:
        source, store = TokenizerSource(tokenizer), Store(Path(scratch))
        work, shards = ReconstructionWork(source, run, store), list(dataset.shards())
        timer = run_shards(work, shards)
        distances = Timer()
        with distances.stage("distances and files"):
            keys = [key for key in map(work.keys, shards) if key is not None]
            result = merge(source, dataset, run, settings.limit, store, keys, Path(scratch) / "result", timer)
    seconds = dict(timer.cpu) | dict(distances.cpu)
    return seconds, {key: entry.value for key, entry in result.metrics.items()}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables and the metrics of both; return 0."""
    args = parser().parse_args(argv)
    whole("images", args.images, 2, 36)
    import torch
    from tabulate import tabulate

    from benchmarks.speed import reference_script
    from lactok import images
    from lactok.evaluation.writing import processor

    settings = Settings(resolution=args.resolution, limit=args.images)
    how = settings.run().protocol.prepare
    references = [images.prepare(s.open(how.upright), how) for s in settings.data().samples]
    ours, own_values = run_suite(args.tokenizer, settings)
    theirs, values = reference_script.run(references, args.tokenizer)
    n = len(references)
    print(f"{processor()}, {torch.get_num_threads()} threads; {n} images at {args.resolution} px, {args.tokenizer}")
    print("CPU seconds an image\n")
    for title, seconds in (("suite", ours), ("plain script", theirs)):
        rows = [[stage, f"{value / n:.3f}"] for stage, value in seconds.items()]
        rows.append(["total", f"{sum(seconds.values()) / n:.3f}"])
        print(tabulate(rows, [title, "s"], tablefmt="pipe", disable_numparse=True), end="\n\n")
    print(f"plain script / suite: {sum(theirs.values()) / sum(ours.values()):.2f}")
    for key, value in values.items():
        print(f"{key}: suite {own_values[key]:.5f}, plain script {value:.5f}")
    return 0


if __name__ == "__main__":
    main()
