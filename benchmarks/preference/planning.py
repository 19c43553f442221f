"""What generators' pictures of captions, and their scores, would take: for `--dry-run` of commands that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.generation.estimate import Estimate, estimate
from benchmarks.generation.work import planned
from benchmarks.preference.captions import Captioned
from benchmarks.preference.suite import ChosenMetrics, Row, prompts_of, rows_of_generators
from lactok import registry, weights
from lactok.errors import MissingFile
from lactok.evaluation import datasets, generated
from lactok.evaluation.config import Run
from lactok.metrics.rewards import specs


def rows_of_plan(names: Sequence[str], captions: str, limit: int | None) -> tuple[list[Row], str]:
    """Return what `rows_of_generators` returns, for a plan, which needs no more of COCO's captions than their number.

    Returns:
        The rows, and a line that says that COCO's captions are not on this machine, "" where they are or others are
        asked for.
    """
    try:
        return rows_of_generators(names, captions, limit), ""
    except MissingFile as error:
        if captions != "coco":
            raise
        missing = str(error)
    count = datasets.PUBLISHED["coco"].size
    samples = tuple(datasets.Sample(f"{n:05}", Path(f"{n:05}"), "a caption") for n in range(count))
    chosen = Captioned(datasets.Dataset("coco", samples).limited(limit), "coco")
    numbers = tuple(int(sample.id) for sample in chosen.dataset.samples)
    rows = []
    for name in names:
        canonical = registry.generator_spec(name).name
        rows.append(Row(canonical, canonical, chosen, name, numbers))
    return rows, f"planned for {count:,} captions: {missing}"


def of_captions(row: Row, run: Run, out: Path, given: Mapping[str, float]) -> Estimate:
    """Return what a generator's pictures of captions would take."""
    source = row.captioned.source
    folder = generated.of_captions(out, row.name, source, run.dtype, run.seed)
    prompts = dict(zip(row.numbers, prompts_of(row), strict=True))
    return estimate(
        registry.generator_spec(row.generator), source, len(prompts), planned(folder, prompts, 1), out, given
    )


def rewards_of(metrics: ChosenMetrics) -> str:
    """Return lines that say whether the weights of rewards are here."""
    known, broken = specs(metrics.rewards)
    lines = [f"reward {name}: weights {weights.state(spec.assets)}" for name, spec in known.items()]
    return "\n".join([*lines, *(f"cannot run: {reason}" for reason in broken.values())])
