"""The steps of the preference suite: choose the metrics, find or make the pictures, score them, write the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import DiskError, NothingMeasured, UserError, WeightsNotFound, WrongValue, unknown
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.shards import again_if_lost

if TYPE_CHECKING:
    from benchmarks.preference.captions import Captioned
    from benchmarks.preference.scoring import Judge
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.results import PreferenceResult
    from lactok.evaluation.store import Store


@dataclass(frozen=True)
class ChosenMetrics:
    """The metrics that `--metrics` asks for.

    Attributes:
        rewards: names of reward models.
        distances: keys of distances to photographs.
        named: whether the user named the metrics one by one; then it is an error if one of them cannot run.
    """

    rewards: list[str]
    distances: list[str]
    named: bool

    @property
    def needs_captions(self) -> bool:
        """Return whether one of the rewards scores a picture by its caption."""
        from lactok.metrics.rewards import specs

        return any(spec.needs_caption for spec in specs(self.rewards)[0].values())


@dataclass(frozen=True)
class Row:
    """A row of the table: a folder of pictures, or a generator, that is to be measured.

    Attributes:
        name: name of the row, with which the name of its result folder begins.
        system: name under which the row's published numbers are looked up.
        captioned: the pictures and captions; a generator that has not run yet has the captions without pictures.
        generator: the generator's name with options, as the user wrote it; "" for a folder of pictures.
        numbers: of a generator's captions, their numbers among all captions, which stay the same whatever is chosen.
    """

    name: str
    system: str
    captioned: Captioned
    generator: str = ""
    numbers: tuple[int, ...] = ()


def choose(metrics: str, reference: str | None) -> ChosenMetrics:
    """Return the metrics that `--metrics` asks for.

    Args:
        metrics: "default", "all", or names of rewards and keys of distances, separated by commas or spaces.
        reference: the photographs that distances compare with, if any are named.

    Raises:
        UnknownName: there is no metric of this name.
        WrongValue: a distance without a reference, or a reference without a distance; or no metric is named.
    """
    from benchmarks.preference.result import DISTANCES
    from lactok.metrics import rewards

    if metrics in ("default", "all"):
        chosen = list(rewards.DEFAULT) if metrics == "default" else rewards.names()
        return ChosenMetrics(chosen, list(DISTANCES) if reference else [], named=False)
    known = [*rewards.names(), *rewards.VARIANTS, *DISTANCES]
    named = list(dict.fromkeys(metrics.replace(",", " ").split()))
    for metric in named:
        if metric not in known:
            raise unknown("metric", metric, known)
    if not named:
        raise WrongValue("`metrics` is empty; name some, or use default or all")
    distances = [metric for metric in named if metric in DISTANCES]
    if distances and reference is None:
        raise WrongValue(f"{distances[0]} is a distance to photographs: name them with `reference`, or leave it out")
    if reference is not None and not distances:
        raise WrongValue("`reference` is for fid and kid: add them to `metrics`, or leave it out")
    return ChosenMetrics([metric for metric in named if metric not in DISTANCES], distances, named=True)


def row_of_folder(folder: Path, captions: str | None, chosen: ChosenMetrics, limit: int | None) -> Row:
    """Return the row of a folder of pictures.

    Captions are read here, before anything is downloaded, so that a mistake in them shows at once.

    Args:
        captions: the argument `--captions`, if it is given.
        limit: take only this many pictures, a fixed random choice; None for all.
    """
    from benchmarks.preference.captions import pictures
    from lactok.evaluation.store import folder_safe

    found = pictures(folder, captions, chosen.needs_captions, limit)
    return Row(f"images-{folder_safe(found.dataset.name)}", folder_safe(folder.resolve().name), found)


def rows_of_generators(names: Sequence[str], captions: str | None, limit: int | None) -> list[Row]:
    """Return a row per generator, all with the same captions.

    Args:
        names: the generators' names with options, as the user wrote them.
        captions: the argument `--captions`; by default COCO's.
        limit: take only this many captions, a fixed random choice; None for all.

    Raises:
        UnknownName: there is no such generator or option.
        WrongValue: one is conditioned on something else than a text.
        MissingFile: COCO's captions are not in the folder of data sets.
    """
    from benchmarks.generation.prompts import check_condition
    from benchmarks.preference.captions import Captioned, load
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.registry import generator_spec

    specs = [generator_spec(name) for name in names]  # a typo is answered before captions are looked for
    for spec in specs:
        check_condition(spec, "text")
    source, texts = load(captions or "coco")
    samples = tuple(Sample(name, Path(name), caption) for name, caption in sorted(texts.items()))
    captioned = Captioned(Dataset(source, samples).limited(limit), source)
    place = {sample.id: number for number, sample in enumerate(samples)}
    numbers = tuple(place[sample.id] for sample in captioned.dataset.samples)
    rows = []
    for name, spec in zip(names, specs, strict=True):
        canonical = spec.name
        rows.append(Row(canonical, canonical, captioned, name, numbers))
    return rows


def prompts_of(row: Row) -> list[dict[str, Any]]:
    """Return the prompts of a generator's row: its captions, each with the name of the file that it is of."""
    return [{"prompt": sample.caption, "file_name": sample.id} for sample in row.captioned.dataset.samples]


def make_pictures(row: Row, run: Run, execution: Execution) -> Row | None:
    """Let a row's generator make one picture per caption, and return the row with the pictures.

    Pictures that exist already are kept. A caption keeps its number among all captions, so that a limited run makes
    some of the pictures of the whole one, in the same folder. Where a run is split into parts, return None as long as
    other parts have pictures to make.
    """
    from benchmarks.generation.work import generate, prompt_folder
    from benchmarks.preference import captions
    from lactok.evaluation import generated

    source = row.captioned.source
    folder = generated.of_captions(execution.out, row.name, source, run.dtype, run.seed)
    prompts = prompts_of(row)
    _, timer = generate(row.generator, prompts, folder, run, execution, samples=1, source=source, numbers=row.numbers)
    if timer is None:
        return None
    made = captions.of_prompts(folder, [prompt_folder(folder, number) / "metadata.jsonl" for number in row.numbers])
    return replace(row, captioned=replace(made, source=source))


def measure(
    rows: Sequence[Row],
    judges: Sequence[Judge],
    chosen: ChosenMetrics,
    reference: Dataset | None,
    run: Run,
    execution: Execution,
    failed: dict[str, str],
    missing: dict[str, str] | None = None,
) -> list[tuple[str, PreferenceResult]]:
    """Measure rows; return (the row's `system`, its result) for each that is finished.

    Args:
        judges: the rewards.
        chosen: the metrics that were asked for.
        reference: the photographs that distances compare with.
        failed: by name, why a row or a reward failed; new reasons are added to it.
        missing: by name, why a generator's weights cannot be had; without it, that counts as a failure.

    Raises:
        NothingMeasured: no picture of the user's folder can be read.
        WrongValue: no photograph of the reference can be read.
    """
    from lactok.evaluation.measuring import log_bug
    from lactok.evaluation.store import Store

    store = Store(execution.out)
    found = []
    for row in rows:
        ready: Row | None = row
        if row.generator:
            try:
                ready = make_pictures(row, run, execution)
            except DiskError:
                raise
            except UserError as error:
                is_missing = missing is not None and isinstance(error, WeightsNotFound)
                (missing if is_missing else failed)[row.name] = str(error)  # type: ignore[index]
                continue
            except Exception as error:  # a bug of one generator must not stop the others
                failed[row.name] = f"{type(error).__name__}: {error}"
                log_bug(row.name)
                continue
        if ready is not None:
            try:
                result = measure_row(ready, judges, chosen.distances, reference, run, execution, store, failed)
            except NothingMeasured as error:
                if not row.generator:
                    raise
                failed[row.name] = str(error)
                continue
            if result is not None:
                found.append((row.system, result))
    return found


@again_if_lost
def measure_row(
    row: Row,
    judges: Sequence[Judge],
    distances: Sequence[str],
    reference: Dataset | None,
    run: Run,
    execution: Execution,
    store: Store,
    failed: dict[str, str],
) -> PreferenceResult | None:
    """Score the pictures of one row and write its result.

    Args:
        judges: the rewards.
        distances: keys of the distances, which need a reference.
        failed: by name, why a reward failed; new reasons are added to it.

    Returns:
        The result; None while other parts still have shards to do, or if every reward failed and there is no reference.
    """
    from benchmarks.preference import result
    from benchmarks.preference.scoring import FeatureWork, RewardWork
    from lactok.evaluation.measuring import log_bug
    from lactok.evaluation.shards import complete
    from lactok.evaluation.timing import Timer

    shards = list(row.captioned.dataset.shards())
    if row.generator:
        # a part gets here only when all parts have made their pictures; it scores whatever is not scored yet
        execution = replace(execution, part=(0, 1))
    timer = Timer(run.device)
    done: list[Judge] = []
    left_to_others = False
    for judge in judges:
        try:
            if complete(RewardWork(judge, run, store), shards, execution, judge.spec.name, timer) is None:
                left_to_others = True
            done.append(judge)
        except DiskError:
            raise
        except UserError as error:
            failed[judge.spec.name] = str(error)
        except Exception as error:  # a bug of one reward must not stop the others
            failed[judge.spec.name] = f"{type(error).__name__}: {error}"
            log_bug(judge.spec.name)
    if reference is not None:
        reference_shards = list(reference.shards())
        for to_describe, label in ((shards, "features"), (reference_shards, "features of the reference")):
            if complete(FeatureWork(run, store), to_describe, execution, label, timer) is None:
                left_to_others = True
    if left_to_others or not (done or reference):
        return None
    reference_name = reference.name if reference else None
    name = result.folder_name(row.name, row.captioned, done, run, execution.limit, reference_name)
    folder = execution.out / name
    generator: dict[str, Any] | None = None
    if row.generator:
        generator = {"name": row.name, "samples": 1, "seed": run.seed, "dtype": run.dtype}
    with store.alone(name):  # another command may write the same result
        return result.merge(
            row.name, row.captioned, done, distances, reference, run, execution.limit, store, folder, timer, generator
        )


def plan(chosen: ChosenMetrics, rows: Sequence[Row]) -> str:
    """Return a text that says what would run and what is missing; nothing is downloaded or computed."""
    from tabulate import tabulate

    from lactok import weights
    from lactok.metrics.rewards import specs

    lines = []
    for row in rows:
        action = "make and score" if row.generator else "score"
        n, source = len(row.captioned.dataset.samples), row.captioned.source
        lines.append(f"would {action} {n} pictures of {row.system} (captions: {source})")
    known, broken = specs(chosen.rewards)
    cells = [[name, weights.state(spec.assets), spec.license, spec.variant] for name, spec in known.items()]
    cells += [[name, "ready", "-", "at 256 px"] for name in chosen.distances]
    head = ["metric", "weights", "licence", "variant"]
    lines.append(tabulate(cells, head, tablefmt="simple", disable_numparse=True))
    lines += [f"cannot run: {reason}" for reason in broken.values()]
    lines.append("where weights come from: python -m lactok.weights list")
    return "\n".join(lines)
