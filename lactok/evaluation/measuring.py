"""Measuring sources on a data set: what `lactok.evaluate` and the commands share; results go into `out`."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lactok.command import as_flags
from lactok.errors import DiskError, NothingMeasured, UserError, WeightsNotFound, check_output_folder, first_few
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import FEW, Dataset
from lactok.evaluation.metric_networks import metric_networks
from lactok.evaluation.shards import again_if_lost, complete

if TYPE_CHECKING:
    from lactok.evaluation.reconstruction import ReconstructionWork
    from lactok.evaluation.results import ReconResult
    from lactok.evaluation.sources import Source
    from lactok.evaluation.timing import Timer

T = TypeVar("T")
logger = logging.getLogger(__name__)

FEW_REASONS = 3  # of so many things that were not run each gets its own line


@dataclass
class Outcome:
    """What became of the evaluation of several sources.

    Attributes:
        results: the results of those that are finished, in order.
        missing: the names of those whose weights cannot be had, with the reason.
        failed: the names of those that failed, with the reason.
    """

    results: list[ReconResult] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def evaluate_source(source: Source, dataset: Dataset, run: Run, execution: Execution) -> ReconResult | None:
    """Measure one source on a data set and write its result.

    Returns:
        The result, or None while other parts still have shards to do.

    Raises:
        WrongValue: nothing could be measured in any image.
        UserError: the source's weights are damaged, or the disk is full.
    """
    return _measure(_work(source, dataset, run, execution), dataset, execution)


def _result_folder(source: Source, dataset: Dataset, run: Run, execution: Execution) -> Path:
    """Return the folder of a source's result."""
    from lactok.evaluation.writing import folder_name

    hashes = f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"
    name = folder_name(source.name, dataset.name, hashes, limit=execution.limit, dtype=run.dtype, seed=run.seed)
    return execution.out / name


def _work(source: Source, dataset: Dataset, run: Run, execution: Execution) -> ReconstructionWork:
    """Return a source's work on shards; raise DiskError if its result's folder cannot be made."""
    from lactok.evaluation import kept_images
    from lactok.evaluation.fast import control_ids
    from lactok.evaluation.reconstruction import ReconstructionWork
    from lactok.evaluation.store import Store

    check_output_folder("out", _result_folder(source, dataset, run, execution) / "images")
    pictured = kept_images.chosen_ids(dataset, execution.pictures)
    control = control_ids(dataset) if run.protocol.score.fast else frozenset[str]()
    return ReconstructionWork(source, run, Store(execution.out), pictured, control)


@again_if_lost
def _measure(
    work: ReconstructionWork, dataset: Dataset, execution: Execution, before: Timer | None = None
) -> ReconResult | None:
    """Finish the shards of one source and write its result, see `evaluate_source`.

    Args:
        work: the source's work.
        dataset: the samples.
        execution: the part and the number of processes.
        before: the times that its shards have taken already.
    """
    from lactok.evaluation import kept_images, reconstruction_result
    from lactok.evaluation.results import ReconResult

    store, shards = work.store, list(dataset.shards())
    folder = _result_folder(work.source, dataset, work.run, execution)
    timer = complete(work, shards, execution, work.source.name)
    if timer is None:
        return None
    if before is not None:
        timer.add(before)
    keys = work.all_keys(shards)
    try:
        reconstruction_result.check_measured(dataset, store, keys)
    except NothingMeasured:  # other images have other keys, so that nothing would ever ask for these scores
        for key in keys:
            store.discard("scores", key.scores)
        raise
    with store.alone(folder.name):  # another command may write the same result with other pictures
        kept_images.publish(folder, work, dataset, keys)
        written = reconstruction_result.merge(
            work.source, dataset, work.run, execution.limit, store, keys, folder, timer
        )
    return ReconResult(folder, written)


def evaluate_sources(
    sources: Sequence[Callable[[], Source] | Source],
    dataset: Dataset,
    run: Run,
    execution: Execution,
    before: Outcome | None = None,
) -> Outcome:
    """Measure several sources; where one fails, the others are measured all the same.

    Photographs are prepared, and their part of the metrics computed, once for all sources whose networks fit into
    memory together; see `lactok.evaluation.joint`.

    Args:
        sources: functions that make a source, each a `functools.partial` whose first argument is the source's name, or
            that name's source itself.
        dataset: the samples.
        run: the settings that determine the numbers; the metrics' networks are added here.
        execution: the settings that do not.
        before: what became of sources that had to be measured before these; it is completed and returned.

    Raises:
        DiskError: nothing can be stored any more.
        WrongValue: nothing could be measured in any image.
        UserError: a network of the metrics cannot be had.
    """
    from lactok.evaluation import reconstruction_result
    from lactok.evaluation.joint import finish_jointly
    from lactok.evaluation.sources import Source
    from lactok.evaluation.store import Store

    Store(execution.out)
    run = replace(run, networks=metric_networks(run))
    if len(dataset.samples) < FEW and before is None:
        count = len(dataset.samples)
        images = "1 image is" if count == 1 else f"{count} images are"
        logger.warning("warning: %s few; %d or more give usable intervals", images, FEW)
    outcome = before or Outcome()
    begun: list[ReconstructionWork] = []

    def attempt(name: str, do: Callable[[], T]) -> T | None:
        try:
            return do()
        except (DiskError, reconstruction_result.NothingMeasured):
            raise
        except UserError as error:
            outcome.failed[name] = str(error)
        except Exception as error:  # one adapter's bug must not lose the other rows
            outcome.failed[name] = f"{type(error).__name__}: {error}"
            log_bug(name)
        return None

    for make in sources:
        name = make.name if isinstance(make, Source) else str(getattr(make, "args", ["?"])[0])  # may fail to be made
        work = attempt(name, partial(_begin, make, dataset, run, execution))
        begun += [work] if work is not None else []
    times = finish_jointly(begun, list(dataset.shards()), execution) if len(begun) > 1 else {}
    for work in begun:
        name = work.source.name
        result = attempt(name, partial(_measure, work, dataset, execution, times.pop(name, None)))
        work.source.release()
        if result is not None:
            outcome.results.append(result)
    return outcome


def _begin(make: Callable[[], Source] | Source, dataset: Dataset, run: Run, execution: Execution) -> ReconstructionWork:
    """Make a source and return its work, see `_work`."""
    from lactok.evaluation.sources import Source

    return _work(make if isinstance(make, Source) else make(), dataset, run, execution)


def one_by_one(
    names: Sequence[str], do: Callable[[str], T], raises: bool = True
) -> tuple[list[T], dict[str, str], dict[str, str]]:
    """Do the same for several generators; where one lacks its weights or fails, the others go on.

    Args:
        names: the generators.
        do: what is done with each.
        raises: whether a user's mistake about the only one is raised, instead of returned.

    Returns:
        What `do` returned, in order; and the names that lack their weights, and that failed, with the reason.

    Raises:
        DiskError: nothing can be stored any more.
    """
    done: list[T] = []
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            done.append(do(name))
        except WeightsNotFound as error:
            missing[name] = str(error)
        except DiskError:
            raise
        except UserError as error:
            if raises and len(names) == 1:
                raise
            failed[name] = str(error)
        except Exception as error:  # a bug of one must not stop the others
            failed[name] = f"{type(error).__name__}: {error}"
            log_bug(name)
    return done, missing, failed


def log_bug(name: str) -> None:
    """Log the traceback of the exception that is being handled, where one of several things failed by a bug."""
    logger.error("%s failed; the others go on:\n%s", name, traceback.format_exc().rstrip())


def report_unfinished(missing: Mapping[str, str], failed: Mapping[str, str], strict: bool, reasons_in: str = "") -> int:
    """Print what did not run and why, and return the command's exit code.

    Args:
        missing: the names of those whose weights are missing, with the reason.
        failed: the names of those that failed, with the reason.
        strict: whether missing weights count as a failure.
        reasons_in: where the reasons stand, for one line instead of a paragraph for each of many.

    Returns:
        3 if something failed, else 0.
    """
    if reasons_in and len(missing) > FEW_REASONS:
        print(f"not run: {first_few(list(missing), FEW_REASONS)}; {reasons_in}")
    else:
        for name, reason in missing.items():
            print(f"not run: {name}: {as_flags(reason)}")
    for name, reason in failed.items():
        logger.error("failed: %s: %s", name, reason)
    return 3 if failed or (missing and strict) else 0
