"""What the command is made of: the judges, the pictures to judge, and a subject's way to its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.generation.prompts import Prompt
from benchmarks.generation.work import generate
from benchmarks.geneval import folder, prompts
from benchmarks.geneval.detectors import ColourClassifier, Detector
from benchmarks.geneval.judge import Annotate, Judges, JudgingWork
from benchmarks.geneval.result import Subject, merge
from lactok import registry, weights
from lactok.errors import WeightsNotFound, WrongValue
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Dataset, limited_numbers
from lactok.evaluation.progress import progress
from lactok.evaluation.results import GenEvalResult
from lactok.evaluation.shards import again_if_lost, complete
from lactok.evaluation.store import Store
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import folder_name

LOCAL = "`detector` scenes-tiny `colours` scenes-tiny"


def resolved(detector: type[Detector], colours: type[ColourClassifier]) -> Judges:
    """The judges, their weights fetched."""
    try:
        found = [weights.resolve(asset) for asset in (*detector.spec.assets, *colours.spec.assets)]
    except WeightsNotFound as error:
        raise WeightsNotFound(f"{error}. {LOCAL} needs no download, but is made for composed scenes") from None
    assets = {f.asset.name: (f.asset.name, f.source, f.sha256) for f in found}
    return Judges(detector, colours, tuple(sorted(assets.values())))


def compose(out: Path, captions: int, samples: int, seed: int) -> Path:
    """The folder of composed scenes of known truth, made where it is not there yet."""
    from benchmarks.scenes.folder import make

    made = out / f"scenes-{captions}x{samples}-seed{seed}"
    if not (made / f"{captions - 1:05}" / "metadata.jsonl").is_file():  # written last
        with progress("scenes", captions, "captions") as report:
            make(made, captions, samples, seed, report=report)
    return made


def of_images(
    images: Path, samples: int, limit: int | None, detector: type[Detector], colours: type[ColourClassifier]
) -> Subject:
    """A folder of somebody's pictures; raises WrongValue where the judges lack a word of its prompts."""
    found = folder.read(images, samples, limit)
    check_words(((entry.id, entry.prompt) for entry in found.entries), detector, colours)
    return Subject(f"{found.name}-{found.sha256[:6]}", found)


def judge_images(
    subject: Subject, judges: Judges, run: Run, execution: Execution, annotated: Annotate
) -> GenEvalResult | None:
    """The result of a folder; None while other parts still have shards to do."""
    dataset = Dataset(subject.name, subject.pictures.pictures)
    return _judged(subject, dataset, judges, run, execution, annotated, Timer(run.device))


def prompts_of(limit: int | None) -> list[Prompt]:
    """GenEval's prompts, or a fixed random choice of them, which are numbered anew."""
    official = prompts.official()
    return [official[i] for i in limited_numbers(len(official), limit)]


def judge_generator(
    name: str, samples: int, judges: Judges, run: Run, execution: Execution, annotated: Annotate
) -> GenEvalResult | None:
    """The pictures of GenEval's prompts by a generator, made where they are not there yet, and judged.

    None while other parts still have shards to do.
    """
    generator, name = name, registry.generator_spec(name).name
    asked = prompts_of(execution.limit)
    more = f"samples{samples}" if samples != folder.SAMPLES else ""
    parts = folder_name(name, limit=execution.limit, dtype=run.dtype, seed=run.seed, more=more)
    root = execution.out / "generated" / parts
    dataset, _ = generate(generator, asked, root, run, execution, samples=samples, source="geneval")
    found = folder.read(root, samples, numbers=range(len(asked)))
    described = {"name": name, "samples": samples, "seed": run.seed, "dtype": run.dtype}
    whole = replace(dataset, name=name)
    return _judged(Subject(name, found, described), whole, judges, run, execution, annotated, Timer(run.device))


@again_if_lost
def _judged(
    subject: Subject,
    dataset: Dataset,
    judges: Judges,
    run: Run,
    execution: Execution,
    annotated: Annotate,
    timer: Timer,
) -> GenEvalResult | None:
    work = JudgingWork(judges, run, Store(execution.out), annotated)
    took = complete(work, list(dataset.shards()), execution, subject.name, timer)
    if took is None:
        return None
    target = execution.out / subject.folder_name(judges, execution.limit)
    return merge(subject, dataset, work, execution.limit, target, took)


def check_words(asked: Iterable[tuple[str, Prompt]], detector: type[Detector], colours: type[ColourClassifier]) -> None:
    """Raise WrongValue for an object or a colour that a prompt asks for and the judges do not know.

    Args:
        asked: prompts, each with its name.
    """
    for name, prompt in asked:
        for clause in (*prompt.get("include", []), *prompt.get("exclude", [])):
            for word, spec, argument in (
                (clause["class"], detector.spec, "detector"),
                (clause.get("color"), colours.spec, "colours"),
            ):
                if word is not None and word not in spec.vocabulary:
                    raise WrongValue(
                        f"{name} asks for {word!r}, which {spec.name} does not know; use another "
                        f"`{argument}`, or one of: {', '.join(spec.vocabulary)}"
                    )


def plan(
    detector: type[Detector],
    colours: type[ColourClassifier],
    names: list[str],
    images: Path | None,
    scenes: int | None,
    samples: int,
    limit: int | None,
) -> list[str]:
    """What would be judged and what is missing; nothing is fetched, made or written."""
    lines: list[str] = []
    specs: list[Any] = [detector.spec, colours.spec]
    for spec in specs:
        for asset in spec.assets:
            there = weights.locate(asset)
            where = f"{there.source}  {there.path}" if there else f"not here, {asset.size / 1e6:.0f} MB to fetch"
            lines.append(f"{spec.name}: {asset.name}: {where}")
        if not spec.assets:
            lines.append(f"{spec.name}: needs no weights")
    asked = len(limited_numbers(len(prompts.official()), limit))
    lines += [f"{name}: {asked} prompts, {asked * samples} pictures to make and to judge" for name in names]
    if scenes is not None:
        judged = len(limited_numbers(scenes, limit))
        lines.append(f"scenes: {scenes} captions, {scenes * samples} pictures to compose, {judged * samples} to judge")
    if images is not None:
        found = folder.read(images, samples, limit)
        lines.append(f"{found.name}: {len(found.entries)} prompts, {len(found.pictures)} pictures to judge")
        lines += [f"left out: {note.id}: {note.text}" for note in found.left_out]
        lines += [f"note: {note.id}: {note.text}" for note in found.remarks]
    return lines
