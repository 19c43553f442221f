"""Which stored run may stand beside a published number, and why another one may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from lactok import registry
from lactok.errors import UserError
from lactok.evaluation import datasets, protocol
from lactok.evaluation.results import GenEvalResult, PreferenceResult, ReconResult, Result
from lactok.specs import Asset

S = TypeVar("S", bound=Result)

COCO_CAPTIONS = datasets.PUBLISHED["coco"].size


@dataclass(frozen=True)
class Choice:
    """The run of a row.

    Attributes:
        run: None where none fits.
        reason: then why.
        note: how it was chosen among several, or what a reader must know of it.
    """

    run: Result | None = None
    reason: str = ""
    note: str = ""


def choose(runs: Sequence[S], obstacle: Callable[[S], str], missing: Callable[[], str]) -> Choice:
    """The run that fits; of several the first of `_order`.

    Args:
        runs: all that were made of what the row is about.
        obstacle: why a run's numbers are not of the published kind, "" where they are.
        missing: why there is no run at all.
    """
    fitting, others = [], []
    for run in runs:
        if why := obstacle(run):
            others.append(why)
        else:
            fitting.append(run)
    if not fitting:
        found = f"run, but not as published: {'; '.join(dict.fromkeys(others))}" if others else missing()
        return Choice(reason=found)
    best, *rest = sorted(fitting, key=_order)
    notes = []
    if rest:
        notes.append(
            f"{best.label}: {best.name} is shown (today's protocol, float32 and the lowest seed come first); "
            f"left aside: {', '.join(r.name for r in rest)}."
        )
    if skipped := len(best.data.dataset.skipped):
        notes.append(f"{best.label}: {skipped} images are left out, named in its result.json.")
    return Choice(best, note=" ".join(notes))


def _order(run: Result) -> tuple[object, ...]:
    today = True
    if isinstance(run, ReconResult):
        known = protocol.protocols().get(run.data.protocol.name)
        today = known is not None and run.data.protocol.score == known.score_hash
    return (not today, run.dtype != "float32", run.seed, run.name)


def recon_obstacle(run: ReconResult, dataset: str, wanted: str) -> str:
    """Why a reconstruction run is not of this data set, whole, under this protocol; "" if it is."""
    if run.dataset != dataset:
        return f"on {run.dataset}"
    size, n = datasets.PUBLISHED[dataset].size, run.n + len(run.data.dataset.skipped)
    if n != size:
        return f"{n} of {size} images"
    if changed := protocol_changes(run, wanted):
        return f"under {describe(run)}" if changed == "name" else f"under {describe(run)} with another {changed}"
    return ""


def protocol_changes(run: ReconResult, wanted: str) -> str:
    """What of a run's protocol is not as the protocol `wanted` is today, "" if nothing.

    Which metrics were asked for does not matter, nor do the versions of the libraries that compute them.
    """
    stored = run.data.protocol
    if stored.name != wanted:
        return "name"
    today = protocol.protocols()[wanted]
    if stored.definition.prepare != asdict(today.prepare):
        return "preparation"
    theirs, ours = (
        {k: v for k, v in score.items() if k not in ("metrics", "versions")}
        for score in (stored.definition.score, asdict(today.score))
    )
    return "" if theirs == ours else "scoring"


def describe(run: Result) -> str:
    """A run's conditions in words: protocol, size, hashes, dtype and seed where they are not the usual ones."""
    parts = []
    if isinstance(run, ReconResult):
        p = run.data.protocol
        parts.append(f"{p.name} at {p.resolution} px ({p.prepare}-{p.score})")
    elif isinstance(run, GenEvalResult):
        parts.append(f"GenEval, {run.data.detector.name}, {run.data.colours.name}")
    elif isinstance(run, PreferenceResult):
        parts.append(f"captions {run.dataset}")
    parts += [run.dtype] * (run.dtype != "float32") + [f"seed {run.seed}"] * (run.seed != 0)
    return ", ".join(parts)


def geneval_obstacle(run: GenEvalResult) -> str:
    if "@" in run.label:
        return f"with options ({run.label})"
    return "" if run.data.comparable else str(run.data.comparable_note)


def preference_obstacle(run: PreferenceResult, name: str) -> str:
    """Why rewards are not of a picture for each of COCO's 5,000 captions; `name` is the system's with its options."""
    captions = run.data.dataset.captions or 0
    if "@" in run.label and run.label != name:
        return f"with options ({run.label})"
    if not run.dataset.startswith("coco-"):
        return f"captions of {run.dataset}"
    if run.n != COCO_CAPTIONS or captions > COCO_CAPTIONS:
        return f"{run.n} of {COCO_CAPTIONS} pictures"
    return ""


def tokenizer_missing(name: str, command: str) -> str:
    """Why a tokenizer has no run: weights that nobody publishes, or nobody ran it."""
    try:
        assets = registry.tokenizer_spec(name).assets
    except UserError as error:
        return str(error)
    private = [a for a in assets if not a.sources and not _is_bundled(a)]
    if private:
        file = private[0].file_names[0]
        return f"weights missing: no public address of {private[0].name} is known; give {file} with --weights DIR"
    return f"not run: {command}"


def generator_missing(name: str, command: str, pictures: str) -> str:
    """Why a generator has no run: it is not built, or nobody ran it. `pictures`: how to score a folder of them."""
    if name.startswith("lactokgen") and name not in registry.list_generators():
        return "suite not built yet: LaCTokGen does not generate here"
    if name not in registry.list_generators():
        return f"not run: no generator here; score a folder of its pictures named {name}: {pictures}"
    return f"not run: {command}"


def _is_bundled(asset: Asset) -> bool:
    import lactok

    return (Path(lactok.__file__).parent / "bundled" / f"{asset.name}.safetensors").is_file()
