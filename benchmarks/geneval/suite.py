"""The steps of the command: fetch the judges, find or make the pictures, judge them and write the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.generation.prompts import Prompt
from benchmarks.generation.work import generate
from benchmarks.geneval import folder, prompts
from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.judge import Annotate, Judges, JudgingWork
from benchmarks.geneval.result import Subject, merge
from lactok import registry, weights
from lactok.errors import WeightsNotFound, WrongValue
from lactok.evaluation import generated
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Dataset, limited_numbers
from lactok.evaluation.measuring import one_by_one
from lactok.evaluation.progress import progress
from lactok.evaluation.results import GenEvalResult
from lactok.evaluation.schema_parts import Skipped
from lactok.evaluation.shards import again_if_lost, complete
from lactok.evaluation.store import Store
from lactok.evaluation.table import lines_by_reason
from lactok.evaluation.timing import Timer

LOCAL_JUDGES = "`detector` scenes-tiny `colours` scenes-tiny"


def fetch_judges(detector: type[Detector], colours: type[ColourClassifier]) -> Judges:
    """Fetch the weights of a detector and a colour classifier, and return both as judges that are not loaded yet.

    Raises:
        WeightsNotFound: some of the weights cannot be had.
    """
    try:
        found = [weights.resolve(asset) for asset in (*detector.spec.assets, *colours.spec.assets)]
    except WeightsNotFound as error:
        raise WeightsNotFound(f"{error}. {LOCAL_JUDGES} needs no download, but is made for composed scenes") from None
    assets = {f.asset.name: (f.asset.name, f.source, f.sha256) for f in found}
    return Judges(detector, colours, tuple(sorted(assets.values())))


def compose_scenes(out: Path, captions: int, samples: int, seed: int) -> Path:
    """Compose scenes whose content is known exactly, unless they are there already; return their folder.

    Args:
        out: where the folder is made.
        captions: number of captions.
        samples: pictures per caption.
        seed: of the scenes.
    """
    from benchmarks.scenes.folder import make

    scenes = out / f"scenes-{captions}x{samples}-seed{seed}"
    written_last = scenes / f"{captions - 1:05}" / "metadata.jsonl"
    if not written_last.is_file():
        with progress("scenes", captions, "captions") as report:
            make(scenes, captions, samples, seed, report=report)
    return scenes


def read_subject(
    images: Path, samples: int, limit: int | None, detector: type[Detector], colours: type[ColourClassifier]
) -> Subject:
    """Read a folder of pictures that is to be judged.

    Args:
        images: the folder, in GenEval's layout.
        samples: pictures that each prompt should have.
        limit: judge only this many prompts; None for all.

    Raises:
        MissingFile: there is no such folder.
        WrongValue: nothing in it can be judged, or the judges do not know an object or a colour of its prompts.
    """
    found = folder.read(images, samples, limit)
    check_words(((entry.id, entry.prompt) for entry in found.entries), detector, colours)
    return Subject(f"{found.name}-{found.sha256[:6]}", found)


def judge_images(
    subject: Subject, judges: Judges, run: Run, execution: Execution, annotated: Annotate
) -> GenEvalResult | None:
    """Judge a folder of pictures and write its result; return None while other parts still have shards to do."""
    dataset = Dataset(subject.name, subject.pictures.pictures)
    return _judge(subject, dataset, judges, run, execution, annotated, Timer(run.device))


def detections_by_picture(
    subject: Subject, judges: Judges, run: Run, execution: Execution
) -> dict[Path, list[Detection]]:
    """Return what the detector found in the pictures of a folder that was judged before, by the picture's path."""
    work = JudgingWork(judges, run, Store(execution.out))
    found: dict[Path, list[Detection]] = {}
    for samples in Dataset(subject.name, subject.pictures.pictures).shards():
        paths = [sample.path.resolve() for sample in samples]
        found |= dict(zip(paths, work.detections(samples), strict=True))
    return found


@dataclass(frozen=True)
class Asked:
    """What generators are asked for.

    Attributes:
        prompts: in GenEval's format, by their numbers.
        name: of the prompts, where they are not GenEval's.
    """

    prompts: Mapping[int, Prompt]
    name: str | None = None


def asked_of_geneval(limit: int | None) -> Asked:
    """Return GenEval's prompts by their official numbers, or a fixed random choice of `limit` of them."""
    official = prompts.official()
    return Asked({number: official[number] for number in limited_numbers(len(official), limit)})


def asked_of_scenes(count: int, limit: int | None, seed: int = 0) -> Asked:
    """Return the captions of so many composed scenes, or a fixed random choice of `limit` of them.

    Args:
        count: number of captions. The first ones of seed 0 are kept from training, see `benchmarks.scenes.EVALUATED`.
        limit: how many of them are asked for; None for all.
        seed: of the captions.
    """
    from benchmarks.scenes.folder import caption_of

    name = f"scenes{count}" + (f"-seed{seed}" if seed else "")
    return Asked({number: caption_of(seed, number) for number in limited_numbers(count, limit)}, name)


def judge_generator(
    name: str,
    samples: int,
    judges: Judges,
    run: Run,
    execution: Execution,
    annotated: Annotate,
    asked: Asked | None = None,
) -> GenEvalResult | None:
    """Let a generator make pictures of GenEval's prompts, or of others, judge them and write the result.

    Pictures that are there already are kept. A prompt keeps its official number, so that a limited run makes some of
    the pictures of the whole one, in the same folder.

    Args:
        name: the generator as it is asked for, with options after `@`.
        samples: pictures per prompt.
        annotated: which pictures are drawn with their verdicts.
        asked: the prompts; by default GenEval's own.

    Returns:
        The result; None while other parts still have shards to do.
    """
    canonical = registry.generator_spec(name).name
    asked = asked or asked_of_geneval(execution.limit)
    texts, numbers = list(asked.prompts.values()), list(asked.prompts)
    root = generated.of_geneval(execution.out, canonical, samples, run.dtype, run.seed, asked.name)
    source = asked.name or "geneval"
    dataset, _ = generate(name, texts, root, run, execution, samples=samples, source=source, numbers=numbers)
    found = folder.read(root, samples, asked=asked.prompts)
    made: dict[str, Any] = {"name": canonical, "samples": samples, "seed": run.seed, "dtype": run.dtype}
    subject = Subject(canonical, found, made | ({"prompts": asked.name} if asked.name else {}))
    # the data set of `generate` also has the pictures that other parts still have to make
    dataset = replace(dataset, name=canonical)
    return _judge(subject, dataset, judges, run, execution, annotated, Timer(run.device))


def with_other_captions(
    results: Sequence[GenEvalResult], asked: Asked, judges: Judges, run: Run, execution: Execution
) -> str:
    """Return as a table what the pictures of generators get with captions of other scenes of the same task.

    Args:
        results: of generators that drew the captions of scenes.
        asked: these captions.
    """
    from benchmarks.geneval.result import system_name
    from benchmarks.scenes import exchanged

    shares = {}
    for result in results:
        root, made = result.generated, result.data.pictures.generator
        assert root is not None
        assert made is not None
        subject = Subject(result.dataset, folder.read(root, made.samples, asked=asked.prompts))
        known = detections_by_picture(subject, judges, run, execution)
        detector, colours = judges.detector(run.device), judges.colours(run.device)
        shares[system_name(result)] = exchanged.score(subject.pictures.entries, detector, colours, known)
    return exchanged.table(shares)


def judge_generators(
    names: Sequence[str],
    samples: int,
    judges: Judges,
    run: Run,
    execution: Execution,
    annotated: Annotate,
    alone: bool = True,
    asked: Asked | None = None,
) -> tuple[list[GenEvalResult], dict[str, str], dict[str, str]]:
    """Let generators make pictures of prompts and judge them; one that fails does not stop the others.

    Args:
        names: the generators as they are asked for.
        samples, annotated, asked: as of `judge_generator`.
        alone: whether a user's mistake is an error of the whole command where only one generator is asked for.

    Returns:
        The results that are finished; the names of those that lack their weights, with the reason; and the names of
        those that failed, with the reason.

    Raises:
        UserError: see `alone`.
        DiskError: the disk is full.
    """
    results, missing, failed = one_by_one(
        names, lambda name: judge_generator(name, samples, judges, run, execution, annotated, asked), alone
    )
    return [result for result in results if result is not None], missing, failed


@again_if_lost
def _judge(
    subject: Subject,
    dataset: Dataset,
    judges: Judges,
    run: Run,
    execution: Execution,
    annotated: Annotate,
    timer: Timer,
) -> GenEvalResult | None:
    """Judge the pictures of a subject shard by shard; once all shards are finished, write and return the result."""
    work = JudgingWork(judges, run, Store(execution.out), annotated)
    total_time = complete(work, list(dataset.shards()), execution, subject.name, timer)
    if total_time is None:
        return None
    result_folder = execution.out / subject.folder_name(judges, execution.limit)
    with work.store.alone(result_folder.name):  # another command may write the same result with other pictures
        return merge(subject, dataset, work, execution.limit, result_folder, total_time)


def check_words(asked: Iterable[tuple[str, Prompt]], detector: type[Detector], colours: type[ColourClassifier]) -> None:
    """Raise WrongValue if a prompt asks for an object or a colour that the judges do not know.

    Args:
        asked: prompts, each with what messages call it.
    """
    for name, prompt in asked:
        for clause in (*prompt.get("include", []), *prompt.get("exclude", [])):
            _check_word(name, clause["class"], detector.spec, "detector")
            if clause.get("color") is not None:
                _check_word(name, clause["color"], colours.spec, "colours")


def _check_word(prompt: str, word: str, spec: JudgeSpec, argument: str) -> None:
    """Raise WrongValue if a judge, which was chosen by this argument, does not know a word of a prompt."""
    if word not in spec.vocabulary:
        raise WrongValue(
            f"{prompt} asks for {word[:60]!r}, which {spec.name} does not know; use another "
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
    """Return lines that say what would be judged and what is missing; nothing is fetched, made or written.

    Args:
        names: generators whose pictures would be made and judged.
        images: folder of pictures to judge, if any.
        scenes: number of captions to compose scenes for, or that generators draw, if any.
        samples: pictures per prompt.
        limit: number of prompts; None for all.
    """
    lines: list[str] = []
    specs: list[JudgeSpec] = [detector.spec, colours.spec]
    for spec in specs:
        for asset in spec.assets:
            file = weights.locate(asset)
            if file is None:
                where = f"not here, {asset.size / 1e6:.0f} MB to fetch"
            else:
                where = f"{file.source}  {file.path}"
            lines.append(f"{spec.name}: {asset.name}: {where}")
        if not spec.assets:
            lines.append(f"{spec.name}: needs no weights")
    asked = len(limited_numbers(len(prompts.official()) if scenes is None else scenes, limit))
    what = "prompts" if scenes is None else "captions of scenes"
    lines += [f"{name}: {asked} {what}, {asked * samples} pictures to make and to judge" for name in names]
    if scenes is not None and not names:
        judged = len(limited_numbers(scenes, limit))
        lines.append(f"scenes: {scenes} captions, {scenes * samples} pictures to compose, {judged * samples} to judge")
    if images is not None:
        found = folder.read(images, samples, limit)
        lines.append(f"{found.name}: {len(found.entries)} prompts, {len(found.pictures)} pictures to judge")
        for notes, label in ((found.left_out, "left out"), (found.remarks, "note")):
            lines += lines_by_reason([Skipped(id=note.id, reason=note.text) for note in notes], label, rest="")
    return lines
