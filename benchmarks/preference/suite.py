"""What the command is made of: the metrics asked for, the pictures, and a row's way to its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import DiskError, UserError, WrongValue, unknown
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.shards import again_if_lost

if TYPE_CHECKING:
    from benchmarks.preference.captions import Captioned
    from benchmarks.preference.scoring import Judge
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.results import PreferenceResult
    from lactok.evaluation.store import Store


@dataclass(frozen=True)
class Chosen:
    """What `metrics` asks for; `named`: one by one, so that a missing one is an error."""

    rewards: list[str]
    distances: list[str]
    named: bool

    @property
    def needs_captions(self) -> bool:
        from lactok.metrics.rewards import specs

        return any(spec.needs_caption for spec in specs(self.rewards)[0].values())


@dataclass(frozen=True)
class Work:
    """A row to come.

    Attributes:
        name: of the row and its folder.
        plain: by which the paper's row is found.
        captioned: the pictures; of a generator the captions, until it has made them.
        generator: as it is asked for; "" for a folder of pictures.
    """

    name: str
    plain: str
    captioned: Captioned
    generator: str = ""


def choose(metrics: str, reference: str | None) -> Chosen:
    """Raises UnknownName, WrongValue: an unknown metric, or a distance without a reference."""
    from benchmarks.preference.result import DISTANCES
    from lactok.metrics import rewards

    every = [*rewards.names(), *rewards.VARIANTS]
    if metrics in ("default", "all"):
        chosen = list(rewards.DEFAULT) if metrics == "default" else rewards.names()
        return Chosen(chosen, list(DISTANCES) if reference else [], False)
    named = list(dict.fromkeys(metrics.replace(",", " ").split()))
    for metric in named:
        if metric not in every and metric not in DISTANCES:
            raise unknown("metric", metric, [*every, *DISTANCES])
    if not named:
        raise WrongValue("`metrics` is empty; name some, or use default or all")
    far = [m for m in named if m in DISTANCES]
    if far and reference is None:
        raise WrongValue(f"{far[0]} is a distance to photographs: name them with `reference`, or leave it out")
    if reference is not None and not far:
        raise WrongValue("`reference` is for fid and kid: add them to `metrics`, or leave it out")
    return Chosen([m for m in named if m not in DISTANCES], far, True)


def of_images(folder: Path, captions: str | None, chosen: Chosen, limit: int | None) -> Work:
    """A folder of somebody's pictures; captions are read here, so that a mistake in them costs no download."""
    from benchmarks.preference.captions import pictures
    from lactok.evaluation.store import folder_safe

    found = pictures(folder, captions, chosen.needs_captions)
    found = replace(found, dataset=found.dataset.limited(limit))
    return Work(f"images-{folder_safe(found.dataset.name)}", folder_safe(folder.resolve().name), found)


def of_generators(names: Sequence[str], captions: str | None, limit: int | None) -> list[Work]:
    """A row a generator, each with the same captions."""
    from benchmarks.preference.captions import Captioned, named
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.registry import generator_spec

    source, texts = named(captions or "coco")
    every = Dataset(source, tuple(Sample(name, Path(name), caption) for name, caption in sorted(texts.items())))
    wanted = Captioned(every.limited(limit), source)
    titles = {name: generator_spec(name).name for name in names}  # a typo costs no download
    return [Work(title, title, wanted, generator=name) for name, title in titles.items()]


def made(work: Work, run: Run, execution: Execution) -> Work | None:
    """A generator's pictures, one a caption, those that are there left as they are.

    None while other parts still have some to make.
    """
    from benchmarks.generation.work import generate
    from benchmarks.preference import captions
    from lactok.evaluation.store import folder_safe

    wanted = work.captioned.dataset.samples
    limit = [f"limit{execution.limit}"] * (execution.limit is not None)
    parts = [work.name, work.captioned.source, *limit, run.dtype, f"seed{run.seed}"]
    folder = execution.out / "generated" / "__".join(folder_safe(part) for part in parts)
    prompts = [{"prompt": s.caption, "file_name": s.id} for s in wanted]
    _, timer = generate(work.generator, prompts, folder, run, execution, samples=1, source=work.captioned.source)
    if timer is None:
        return None
    return replace(work, captioned=replace(captions.pictures(folder), source=work.captioned.source))


def measure(
    work: Sequence[Work],
    judges: Sequence[Judge],
    chosen: Chosen,
    reference: Dataset | None,
    run: Run,
    execution: Execution,
    failed: dict[str, str],
) -> list[tuple[str, PreferenceResult]]:
    """The results of all rows that are finished, by their plain name; why others are not is added to `failed`."""
    from lactok.evaluation.store import Store

    store, found = Store(execution.out), []
    for row in work:
        ready: Work | None = row
        if row.generator:
            try:
                ready = made(row, run, execution)
            except DiskError:
                raise
            except UserError as error:
                failed[row.name] = str(error)
                continue
        if ready is not None:
            result = measure_row(ready, judges, chosen.distances, reference, run, execution, store, failed)
            if result is not None:
                found.append((row.plain, result))
    return found


@again_if_lost
def measure_row(
    work: Work,
    judges: Sequence[Judge],
    distances: Sequence[str],
    reference: Dataset | None,
    run: Run,
    execution: Execution,
    store: Store,
    failed: dict[str, str],
) -> PreferenceResult | None:
    """One row of the table; None while other parts still have shards to do, or if no reward could score."""
    from benchmarks.preference import result
    from benchmarks.preference.scoring import FeatureWork, RewardWork
    from lactok.evaluation.evaluate import log_bug
    from lactok.evaluation.shards import complete
    from lactok.evaluation.timing import Timer

    shards = list(work.captioned.dataset.shards())
    if work.generator:  # its parts have made their pictures: whoever sees all of them scores what is not scored yet
        execution = replace(execution, part=(0, 1))
    timer, done, waiting = Timer(run.device), [], False
    for judge in judges:
        try:
            took = complete(RewardWork(judge, run, store), shards, execution, judge.spec.name, timer)
            waiting = waiting or took is None
            done.append(judge)
        except DiskError:
            raise
        except UserError as error:
            failed[judge.spec.name] = str(error)
        except Exception as error:  # one reward's bug must not lose the others
            failed[judge.spec.name] = f"{type(error).__name__}: {error}"
            log_bug(judge.spec.name)
    if reference is not None:
        for samples, label in ((shards, "features"), (list(reference.shards()), "features of the reference")):
            took = complete(FeatureWork(run, store), samples, execution, label, timer)
            waiting = waiting or took is None
    if waiting or not (done or reference):
        return None
    to = reference.name if reference else ""
    folder = execution.out / result.folder_name(work.name, work.captioned, done, run, execution.limit, to)
    generator: dict[str, Any] | None = None
    if work.generator:
        generator = {"name": work.name, "samples": 1, "seed": run.seed, "dtype": run.dtype}
    return result.merge(
        work.name, work.captioned, done, distances, reference, run, execution.limit, store, folder, timer, generator
    )


def plan(chosen: Chosen, work: Sequence[Work]) -> str:
    """What would run and what is missing; nothing is downloaded or computed."""
    from tabulate import tabulate

    from lactok import weights
    from lactok.metrics.rewards import specs

    known, broken = specs(chosen.rewards)
    rows = []
    for name, spec in known.items():
        rows.append([name, weights.state(spec.assets), spec.license, spec.variant])
    rows += [[name, "ready", "-", "at 256 px"] for name in chosen.distances]
    lines = [
        f"would {'make and ' if w.generator else ''}score {len(w.captioned.dataset.samples)} pictures of {w.plain} "
        f"(captions: {w.captioned.source})"
        for w in work
    ]
    table = tabulate(rows, ["metric", "weights", "licence", "variant"], tablefmt="simple", disable_numparse=True)
    lines += [table, *(f"cannot run: {reason}" for reason in broken.values())]
    return "\n".join([*lines, "where weights come from: python -m lactok.weights list"])
