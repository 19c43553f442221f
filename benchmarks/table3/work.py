"""The steps of the command: which generators can run, their pictures, and the scores by GenEval and by rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.generation.estimate import Estimate, estimate, table
from benchmarks.generation.work import planned
from benchmarks.geneval import suite as geneval
from benchmarks.geneval.detectors import ColourClassifier, Detector
from benchmarks.preference import planning, scoring
from benchmarks.preference import suite as preference
from lactok import registry, weights
from lactok.errors import UserError, WeightsNotFound
from lactok.evaluation import generated
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.results import GenEvalResult, PreferenceResult


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        names: the generators as they are asked for, with options after `@`.
        rows: the captions' pictures of each.
        samples: pictures of each of GenEval's prompts.
        judges: the classes of GenEval's detector and colour classifier.
        metrics: the rewards.
    """

    names: Sequence[str]
    rows: Sequence[preference.Row]
    samples: int
    judges: tuple[type[Detector], type[ColourClassifier]]
    metrics: preference.ChosenMetrics


@dataclass
class Found:
    """What came of it.

    Attributes:
        rows: the generators' canonical names, in the order of the table.
        geneval, preference: the results that are finished, by generator.
        rewards: the rewards that scored pictures.
        missing: what lacks its weights, with the reason.
        failed: what failed, with the reason.
    """

    rows: list[str] = field(default_factory=list)
    geneval: dict[str, GenEvalResult] = field(default_factory=dict)
    preference: dict[str, PreferenceResult] = field(default_factory=dict)
    rewards: list[scoring.Judge] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(plan: Plan, run: Run, execution: Execution) -> Found:
    """Measure one generator after the other; those that lack their weights are left out, and the rest goes on.

    Raises:
        DiskError: the disk is full.
    """
    found = Found()
    found.rewards, found.missing, found.failed = scoring.available(plan.metrics.rewards)
    judges = None
    try:
        judges = geneval.fetch_judges(*plan.judges)
    except WeightsNotFound as error:
        found.missing["GenEval's judges"] = str(error)
    if judges is None and not found.rewards:
        return found
    for name, row in zip(plan.names, plan.rows, strict=True):
        try:
            registry.generator_settings(name)  # finds the weights, or says why it cannot
        except WeightsNotFound as error:
            found.missing[name] = str(error)
            continue
        except UserError as error:  # a damaged file, or a broken plug-in: the others still run
            found.failed[name] = str(error)
            continue
        found.rows.append(row.name)
        if judges is not None:
            judged, missing, failed = geneval.judge_generators(
                [name], plan.samples, judges, run, execution, "none", alone=False
            )
            if judged:
                found.geneval[row.name] = judged[0]
            found.missing |= missing
            found.failed |= failed
            if missing or failed:
                continue
        if found.rewards:
            scored = preference.measure(
                [row], found.rewards, plan.metrics, None, run, execution, found.failed, found.missing
            )
            found.preference |= dict(scored)
    found.rows = [name for name in found.rows if name in found.geneval or name in found.preference]
    return found


def dry_run(plan: Plan, run: Run, execution: Execution, given: Mapping[str, float]) -> str:
    """Return what would be made and measured and what it takes; nothing is fetched, made or written.

    Args:
        given: the seconds an image that the user named, see `benchmarks.generation.estimate.seconds_of`.
    """
    lines = [table(pictures_of(plan, run, execution, given), execution.part)]
    for spec in (judge.spec for judge in plan.judges):
        lines.append(f"GenEval's {spec.name}: weights {weights.state(spec.assets)}")
    lines.append(planning.rewards_of(plan.metrics))
    return "\n".join(dict.fromkeys(lines))


def pictures_of(plan: Plan, run: Run, execution: Execution, given: Mapping[str, float]) -> list[Estimate]:
    """Return what the pictures of each generator would take, those of GenEval's prompts and those of captions."""
    out, found = execution.out, []
    prompts = geneval.asked_of_geneval(execution.limit).prompts
    for name, row in zip(plan.names, plan.rows, strict=True):
        spec = registry.generator_spec(name)
        folder = generated.of_geneval(out, spec.name, plan.samples, run.dtype, run.seed)
        pictures = planned(folder, prompts, plan.samples)
        found.append(estimate(spec, "GenEval", len(prompts), pictures, out, given))
        found.append(planning.of_captions(row, run, out, given))
    return found
