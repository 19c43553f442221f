"""The engine of every suite: shards of samples are computed one by one, kept in the store, and merged in their order.

A suite says what is done with a shard by a class derived from `ShardWork`. All else is the same for every suite: which
part does which shards, the worker processes, going on after a run was killed, and waiting for the other parts.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import accumulate
from typing import ClassVar, ParamSpec, TypeVar

from lactok.errors import WrongValue
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.executors import LocalExecutor
from lactok.evaluation.progress import Report, progress
from lactok.evaluation.store import LostShard
from lactok.evaluation.timing import Timer

P = ParamSpec("P")
T = TypeVar("T")
Shard = Sequence[Sample]
logger = logging.getLogger(__name__)


class ShardWork(ABC):
    """The work on a shard of samples. It is sent to worker processes, so it must load networks only when needed.

    What is computed is kept in the store, under the hash of all that it depends on, and is never computed twice.
    (Pictures that are the result themselves, a generator's, are kept in their folder.)

    Attributes:
        run: the settings that determine the numbers.
        reads_all: whether `is_finished` looks at what is there as `finish` does, so that a shard of which it returns
            True needs no `finish`.
    """

    run: Run
    reads_all: ClassVar[bool] = True

    def count(self, samples: Shard) -> int:
        """Return how many images progress counts for a shard."""
        return len(samples)

    @abstractmethod
    def is_finished(self, samples: Shard) -> bool:
        """Return whether all that is made from these samples is there."""

    @abstractmethod
    def finish(self, samples: Shard, timer: Timer) -> None:
        """Compute what is missing, and nothing else; the times are added to `timer`."""


def run_shards(
    work: ShardWork, shards: Sequence[Shard], execution: Execution | None = None, report: Report | None = None
) -> Timer:
    """Finish shards, in this process, in several worker processes, or on a Ray cluster.

    Args:
        work: what to do with a shard.
        shards: the shards.
        execution: the number of worker processes, or the cluster; by default this process does the work.
        report: called with (done, total) after each shard.

    Returns:
        The times that all shards took together.
    """
    jobs, device = [list(samples) for samples in shards], work.run.device
    elsewhere = execution is not None and (execution.cluster is not None or execution.workers > 1)
    if elsewhere and work.reads_all:  # no process is started for what is finished
        jobs = [samples for samples in jobs if not work.is_finished(samples)]
    if execution is None or execution.cluster is None:
        with _same_threads_afterwards():
            workers = LocalExecutor(execution.workers if execution else 1)
            return workers.run(_finish, jobs, _start, (work,), device, report)
    from lactok.evaluation.ray_engine import RayExecutor

    cluster = RayExecutor(execution.cluster, execution.out, work.run.threads)
    return cluster.run(_finish, jobs, _start_elsewhere, (work,), device, report)


def run_part(work: ShardWork, shards: Sequence[Shard], execution: Execution, label: str) -> Timer:
    """Finish those of all shards that belong to this run's part; return the times that they took together."""
    part, parts = execution.part
    own = shards[part::parts]
    done = [0, *accumulate(map(work.count, own))]  # images after so many shards
    with progress(label, done[-1]) as report:
        # shards that are finished may not be among the jobs: they count from the beginning
        return run_shards(work, own, execution, lambda n, of: report(done[len(own) - of + n], done[-1]))


def complete(
    work: ShardWork, shards: Sequence[Shard], execution: Execution, label: str, timer: Timer | None = None
) -> Timer | None:
    """Finish the shards that belong to this run's part, and find out whether all parts are finished.

    Args:
        work: what to do with a shard.
        shards: the shards of all parts.
        execution: the part, and the number of worker processes or the cluster.
        label: what the progress is called.
        timer: a timer to which the times are added; a new one if not given.

    Returns:
        The timer; None, and a line in the log, while other parts still have shards to do.
    """
    total = timer or Timer(work.run.device)
    total.add(run_part(work, shards, execution, label))
    left = sum(not work.is_finished(s) for s in shards)
    if left:
        same = f"; all parts need the same `threads` (here {work.run.threads})" if work.run.device_kind == "cpu" else ""
        logger.info("%s: %d of %d shards are left to the other parts%s", label, left, len(shards), same)
        return None
    return total


def again_if_lost(measure: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that finishes shards and merges them, so that it starts again where a shard was lost.

    A shard counts as lost when the merge finds that it is missing or damaged; the second start computes it anew.
    """

    @wraps(measure)
    def measured(*args: P.args, **kwargs: P.kwargs) -> T:
        lost: set[str] = set()
        while True:
            try:
                return measure(*args, **kwargs)
            except LostShard as error:
                if error.path in lost:  # it was computed anew, and is lost again
                    raise
                lost.add(error.path)

    return measured


@contextmanager
def _same_threads_afterwards() -> Iterator[None]:
    """Restore torch's number of threads after the `with` block, since jobs in this process may change it."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


_worker: dict[str, ShardWork] = {}  # under "work", what this process does with shards


def _start(work: ShardWork) -> None:
    """Prepare this process for its jobs."""
    import torch

    torch.set_num_threads(work.run.threads)
    _worker["work"] = work


def _start_elsewhere(work: ShardWork) -> None:
    """Prepare a process of what may be another machine; the metrics' networks must be the same as where the run began.

    Raises:
        WrongValue: they are not.
        WeightsNotFound: this machine has no such network.
    """
    from lactok import weights

    assets = {asset.name: asset for asset, _ in weights.known_assets().values()} if work.run.networks else {}
    for name, sha256 in work.run.networks:
        found = weights.resolve(assets[name]).sha256 if name in assets else sha256
        if found != sha256:
            raise WrongValue(
                f"{name}: these weights have the digest {found[:12]} and those of the run {sha256[:12]}; let all "
                "machines have the same LACTOK_CACHE, or remove the other file"
            )
    _start(work)


def _finish(samples: list[Sample]) -> Timer:
    """Do one job, a shard, and return the time that it took."""
    work = _worker["work"]
    timer = Timer(work.run.device)
    work.finish(samples, timer)
    sys.stdout.flush()
    return timer
