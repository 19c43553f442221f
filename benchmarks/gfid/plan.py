"""`--dry-run`: what would be made and measured, how long that takes where it is known, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmarks.gfid.reference import Reference
from benchmarks.gfid.result import distance
from benchmarks.gfid.suite import Classes, generated
from lactok import registry, weights
from lactok.errors import UserError
from lactok.evaluation.config import Run
from lactok.evaluation.results import GenerationResult, GfidResult, load_results
from lactok.evaluation.store import Store
from lactok.images import Rounding
from lactok.specs import GeneratorSpec
from lactok.weights import size_text

PNG_SHARE = 0.65  # of a picture's pixels that its PNG file takes, roughly
FEATURE_BYTES = 4 * 2048


def of_generators(
    names: Sequence[str], classes: Classes, limit: int | None, array: bool, rounding: Rounding, run: Run, out: Path
) -> list[str]:
    """Return a line for each generator: pictures, weights, time and disk; nothing is fetched or made.

    Args:
        names: the generators, as the user wrote them.
        classes: the classes.
        limit: the number of pictures that the user chose, None for all.
        array: whether `samples.npz` would be written.
        rounding: how values become uint8.
        run: seed, device and dtype.
        out: the folder of results, in which times are looked for.
    """
    n = len(classes.dataset(limit).samples)
    lines = []
    for name in names:
        spec = registry.generator_spec(name)
        assets = list(spec.assets)
        if spec.tokenizer is not None:
            assets += registry.tokenizer_spec(spec.tokenizer).assets
        has_weights = all(weights.locate(asset) is not None for asset in assets)
        left = n
        if has_weights and (out / "store").is_dir():
            source = generated(name, classes, rounding, run, limit, Store(out))
            left = sum(len(shard) for shard in source.dataset.shards() if not source.is_made(shard))
        pixels = 3 * spec.output_size**2
        disk = left * PNG_SHARE * pixels + n * FEATURE_BYTES + n * pixels * array
        lines.append(
            f"{spec.name}: {left} of {n} pictures to make ({len(set(classes.labels))} classes); "
            f"{_time(spec, left, out)}; about {size_text(disk)} of disk; weights {weights.state(assets)}"
        )
    return lines


def _time(spec: GeneratorSpec, count: int, out: Path) -> str:
    """Return how long so many pictures take by the times of an earlier run in `out`, or that none is known."""
    seconds = None
    try:
        for result in load_results(out):
            if isinstance(result, GfidResult | GenerationResult) and result.label == spec.name:
                seconds = result.seconds("generate") or seconds
    except UserError:
        pass
    if seconds is None:
        return f"time unknown, since no run in {out} timed it (--limit 8 does)"
    return f"about {count * seconds / 3600:.1f} h at {seconds:.2g} s an image, as in {out}"


def of_metrics(keys: Sequence[str], reference: Reference) -> str:
    """Return a table of the metrics with the state of their weights, and a line about the reference."""
    cells = [[key, distance(key).title, weights.state(distance(key).needs)] for key in keys]
    of = "" if reference.n is None else f" of {reference.n}"
    table = tabulate(cells, ["metric", "column", "weights"], tablefmt="simple", disable_numparse=True)
    return "\n".join(
        [
            f"reference: {reference.name}, {reference.kind}{of}",
            table,
            "where weights come from: python -m lactok.weights list",
        ]
    )
