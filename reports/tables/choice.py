"""Choose the stored run that may stand beside a published number, or say why none may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.preference.notes import reading_notes
from lactok import registry
from lactok.errors import UserError, first_few
from lactok.evaluation import datasets, protocol
from lactok.evaluation.results import GenEvalResult, GfidResult, PreferenceResult, ProbeResult, ReconResult, Result
from lactok.specs import Asset
from reports.conditions import unusual_conditions

S = TypeVar("S", bound=Result)

GFID_PICTURES, GFID_CLASSES = 50_000, "imagenet-classes"
ADM_REFERENCE = "VIRTUAL_imagenet256_labeled"  # how the name of ADM's statistics of ImageNet's training set begins
COCO_CAPTIONS = datasets.PUBLISHED["coco"].size  # one caption for each image of the published data set
CHOSEN = ("mjhq", "flux5k")  # sets of which earlier versions, whose results have no digest of the list, took others


@dataclass(frozen=True)
class Choice:
    """The run that was chosen for a row.

    Attributes:
        run: the run, or None where none fits.
        reason: why none fits, "" where one does.
        note: how it was chosen among several and what a reader must know of it, "" for nothing.
    """

    run: Result | None = None
    reason: str = ""
    note: str = ""


def choose(runs: Sequence[S], obstacle: Callable[[S], str], missing: Callable[[], str]) -> Choice:
    """Choose the run that fits; of several the first one by `_order`.

    Args:
        runs: all runs of the row's method.
        obstacle: returns why a run's numbers are not comparable with the published ones, "" where they are.
        missing: returns why there is no run at all.
    """
    fitting, obstacles = [], []
    for run in runs:
        reason = obstacle(run)
        if reason:
            obstacles.append(reason)
        else:
            fitting.append(run)
    if not fitting:
        if obstacles:
            return Choice(reason=f"run, but not as published: {'; '.join(dict.fromkeys(obstacles))}")
        return Choice(reason=missing())
    best, *rest = sorted(fitting, key=_order)
    notes = []
    if rest:
        notes.append(
            f"{best.label}: {best.name} is shown (today's protocol, float32 and the lowest seed come first); "
            f"left aside: {first_few([r.name for r in rest])}."
        )
    skipped = len(best.data.dataset.skipped)
    if skipped:
        notes.append(f"{best.label}: {skipped} images are left out, named in its result.json.")
    if isinstance(best, PreferenceResult):
        notes += [f"{best.label}: {note}" for note in reading_notes([best])]
    return Choice(best, note=" ".join(notes))


def _order(run: Result) -> tuple[object, ...]:
    """Return a key that sorts today's protocol, float32 and the lowest seed to the front."""
    today = True
    if isinstance(run, ReconResult):
        known = protocol.protocols().get(run.data.protocol.name)
        today = known is not None and run.data.protocol.score == known.score_hash
    return (not today, run.dtype != "float32", run.seed, run.name)


def recon_obstacle(run: ReconResult, dataset: str, wanted: str) -> str:
    """Return why a reconstruction run is not of all of a data set under the protocol `wanted`, or "" if it is."""
    if run.dataset != dataset:
        return f"on {run.dataset}"
    if dataset in CHOSEN and run.data.dataset.list_sha256 is None:
        return "on the images that an earlier version took; measure again"
    size, n = datasets.PUBLISHED[dataset].size, run.n + len(run.data.dataset.skipped)
    if n != size:
        return f"{n} of {size} images"
    changed = protocol_changes(run, wanted)
    if not changed:
        return ""
    if changed == "name":
        return f"under {describe(run)}"
    return f"under {describe(run)} with another {changed}"


def protocol_changes(run: ReconResult, wanted: str) -> str:
    """Return which part of a run's protocol differs from the protocol `wanted` of today, or "" if none does.

    The choice of metrics does not matter, nor do the versions of the libraries that compute them.

    Returns:
        "name", "preparation", "scoring" or "".
    """
    stored = run.data.protocol
    if stored.name != wanted:
        return "name"
    today = protocol.protocols()[wanted]
    if stored.definition.prepare != today.prepare.settings():
        return "preparation"
    if scoring_settings(stored.definition.score) != scoring_settings(today.score.settings()):
        return "scoring"
    return ""


def scoring_settings(score: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine a score's value, whichever metrics are asked for."""
    return {key: value for key, value in score.items() if key not in ("metrics", "versions")}


def describe(run: Result) -> str:
    """Return a run's conditions in words: the protocol, and dtype and seed where they are unusual."""
    parts = []
    if isinstance(run, ReconResult):
        used = run.data.protocol
        parts.append(f"{used.name} at {used.size_text} ({used.prepare}-{used.score})")
    elif isinstance(run, GenEvalResult):
        parts.append(f"GenEval, {run.data.detector.name}, {run.data.colours.name}")
    elif isinstance(run, PreferenceResult):
        parts.append(f"captions {run.dataset}")
    elif isinstance(run, GfidResult):
        parts.append(f"to {run.data.reference.name}")
    elif isinstance(run, ProbeResult):
        parts.append(f"{run.data.probe.budget.get('steps')} steps ({run.data.prepare}-{run.data.probe.hash})")
    return ", ".join([*parts, *unusual_conditions(run)])


def geneval_obstacle(run: GenEvalResult) -> str:
    """Return why a GenEval run is not comparable with published scores, or "" if it is."""
    if "@" in run.label:
        return f"with options ({run.label})"
    return "" if run.data.comparable else str(run.data.comparable_note)


def preference_obstacle(run: PreferenceResult, name: str) -> str:
    """Return why a run's rewards are not those of one picture for each of COCO's 5,000 captions, or "" if they are.

    Args:
        run: the run.
        name: the generator's name with the options that are wanted.
    """
    captions = run.data.dataset.captions or 0
    if "@" in run.label and run.label != name:
        return f"with options ({run.label})"
    if not run.dataset.startswith("coco-"):
        return f"captions of {run.dataset}"
    if run.n != COCO_CAPTIONS or captions > COCO_CAPTIONS:
        return f"{run.n} of {COCO_CAPTIONS} pictures"
    return ""


def gfid_obstacle(run: GfidResult) -> str:
    """Return why a run's FID is not of 50,000 pictures of all classes to ADM's statistics, or "" if it is."""
    reference = run.data.reference
    if "@" in run.label:
        return f"with options ({run.label})"
    if run.n != GFID_PICTURES:
        return f"{run.n} of {GFID_PICTURES} pictures"
    if run.data.pictures.generator is not None and run.dataset != GFID_CLASSES:
        return f"of {run.dataset}"
    if not reference.name.startswith(ADM_REFERENCE) or "statistics" not in reference.kind:
        return f"to {reference.name}"
    rounding = run.data.protocol.definition.score.get("rounding")
    if run.data.pictures.generator is not None and rounding != "truncate":
        return f"with {rounding} rounding"
    return ""


def tokenizer_missing(name: str, command: str) -> str:
    """Return why a tokenizer has no run: its weights are not published, or `command` was not run."""
    try:
        assets = registry.tokenizer_spec(name).assets
    except UserError as error:
        return str(error)
    unknown = _without_address(assets)
    return _give(unknown) if unknown else f"not run: {command}"


def generator_missing(name: str, command: str, pictures: str) -> str:
    """Return why a generator has no run.

    Args:
        name: the generator's name.
        command: makes a run, where this project has the generator.
        pictures: the command that scores a folder of its pictures, where it has not.
    """
    if name not in registry.list_generators():
        return f"not run: no generator here; score a folder of its pictures named {name}: {pictures}"
    spec = registry.generator_spec(name)
    unknown = _without_address(spec.assets)
    if not unknown and spec.tokenizer is not None:
        unknown = _without_address(registry.tokenizer_spec(spec.tokenizer).assets)
    # the pipelines of diffusers name their weights by themselves, so they have no assets
    return _give(unknown) if unknown else f"not run: {command}"


def _without_address(assets: Sequence[Asset]) -> Asset | None:
    """Return the first asset that nobody publishes, None if there is none."""
    return next((a for a in assets if not a.sources and not _is_bundled(a)), None)


def _give(asset: Asset) -> str:
    """Return the reason that an asset which nobody publishes is missing."""
    return f"weights missing: {asset.name} is not published; give {asset.file_names[0]} with --weights DIR"


def _is_bundled(asset: Asset) -> bool:
    """Return whether the package holds the asset's weights."""
    import lactok

    return (Path(lactok.__file__).parent / "bundled" / f"{asset.name}.safetensors").is_file()
