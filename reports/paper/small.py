"""Measure what the small tables and claims need, as far as it is not stored yet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ablation.studies import STUDIES, names
from benchmarks.geneval import detectors, suite
from benchmarks.scenes import folder as scenes_folder
from lactok import registry
from lactok.evaluation.evaluate import resolve_sources
from lactok.evaluation.measuring import evaluate_sources, one_by_one
from lactok.evaluation.metric_networks import with_networks
from lactok.evaluation.progress import progress
from reports.paper import systems
from reports.paper.systems import PHOTOGRAPHS, SCENES, Found
from reports.paper.tables import TRUE_SCENES

if TYPE_CHECKING:
    from benchmarks.geneval.judge import Judges
    from lactok.evaluation.results import GenEvalResult
    from reports.paper.plan import Plan

SCALE = "tiny"


def found(plan: Plan, runs: Path) -> tuple[Found, dict[str, str]]:
    """Return the results of the small models, after those that were missing are measured.

    Args:
        plan: the sizes and settings.
        runs: the folder of results; what it has already is not computed again.

    Returns:
        The results, with the reason where a model lacks its weights; and the models that failed, with the reason.

    Raises:
        UserError: the photographs cannot be read, or the judge's weights cannot be had.
        DiskError: the disk is full.
    """
    plan.settings(runs).use_machine()
    known = Found(SCALE, systems.tokenizers(SCALE), systems.generators(SCALE))
    scenes = compose(plan, runs)
    failed: dict[str, str] = {}
    asked = needed()
    for place, dataset in ((PHOTOGRAPHS, plan.dataset), (SCENES, str(scenes))):
        failed |= _reconstruct(known, place, dataset, asked[place], plan, runs)
    return known, failed | _generate(known, scenes, plan, runs)


def needed() -> dict[str, list[str]]:
    """Return the tokenizers that are measured on each data set: those of the tables, and of claims without a table."""
    tokenizers = systems.tokenizers(SCALE)
    usual = [*systems.SMALL_TOKENIZERS, "llamagen", "lactok-h"]
    compared = [tokenizers[key] for key in usual]
    steps = [tokenizers[systems.steps_key(n)] for n in systems.STEPS]
    studied = [name for study in STUDIES.values() for name in names(study, SCALE)]
    return {PHOTOGRAPHS: list(dict.fromkeys([*compared, *studied, *steps])), SCENES: list(dict.fromkeys(compared))}


def compose(plan: Plan, runs: Path) -> Path:
    """Compose the scenes of the plan, a picture for each caption that is true of it, and return their folder."""
    out = runs / f"scenes-{plan.scenes}-seed{plan.seed}"
    if not (out / f"{plan.scenes - 1:05}" / "metadata.jsonl").is_file():  # the file that is written last
        with progress("scenes", plan.scenes, "captions") as report:
            scenes_folder.make(out, plan.scenes, 1, plan.seed, broken=0.0, report=report)
    return out


def _reconstruct(
    known: Found, place: str, dataset: str, tokenizers: Sequence[str], plan: Plan, runs: Path
) -> dict[str, str]:
    """Measure reconstructions of a data set, add them to `known`, and return what failed, with the reason."""
    settings = plan.settings(runs, dataset)
    run, data = with_networks(settings.run(), settings.metrics), settings.data()
    what = "windows of photographs" if dataset == "sample" else "composed scenes" if place == SCENES else "images"
    known.places[place] = f"{len(data.samples)} {what} ({data.name})"
    sources, missing, broken = resolve_sources(tokenizers, protocol=run.protocol)
    outcome = evaluate_sources(sources, data, run, settings.execution())
    known.results |= {(place, result.label): result for result in outcome.results}
    failed = broken | outcome.failed
    known.reasons |= {(place, name): why for name, why in (missing | failed).items()}
    return failed


def _generate(known: Found, scenes: Path, plan: Plan, runs: Path) -> dict[str, str]:
    """Let generators draw the scenes' captions, judge them, add that to `known`, and return what failed."""
    detector, colours = detectors.find("detector", plan.judge), detectors.find("colour", plan.judge)
    judges = suite.fetch_judges(detector, colours)
    run, execution = plan.settings(runs).run(), plan.settings(runs).execution()
    subject = suite.read_subject(scenes, 1, None, detector, colours)
    captions = suite.asked_of_scenes(plan.scenes, None, plan.seed)
    known.places["geneval"] = f"{plan.scenes} captions of composed scenes, judged by {plan.judge}"
    true = suite.judge_images(subject, judges, run, execution, "none")
    if true is not None:
        known.results["geneval", TRUE_SCENES] = true
    asked = list(dict.fromkeys(systems.generators(SCALE).values()))
    there = [name for name in asked if name.partition("@")[0] in registry.list_generators()]
    known.reasons |= {("", n): f"there is no generator {n.partition('@')[0]} yet" for n in asked if n not in there}
    results, missing, failed = one_by_one(
        there, partial(_judged, judges=judges, captions=captions, run=run, execution=execution), raises=False
    )
    judged = dict(zip((name for name in there if name not in missing | failed), results, strict=True))
    known.results |= {("geneval", name): result for name, result in judged.items() if result is not None}
    known.reasons |= {("", name): why for name, why in (missing | failed).items()}
    return failed


def _judged(name: str, judges: Judges, captions: suite.Asked, run: Any, execution: Any) -> GenEvalResult | None:
    """Let a generator draw the captions, one picture of each, and judge them."""
    return suite.judge_generator(name, 1, judges, run, execution, "none", captions)
