"""The engine of every suite: shards of samples, finished one by one, kept in the store, merged in their order.

A suite says what is done with a shard by a `ShardWork`. Everything else is the same for all of them: which shards are
whose part, the processes, going on where a run was killed, and waiting for the other parts.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.executors import run_jobs
from lactok.evaluation.progress import Report, progress
from lactok.evaluation.store import LostShard
from lactok.evaluation.timing import Timer

P = ParamSpec("P")
T = TypeVar("T")
Shard = Sequence[Sample]
logger = logging.getLogger(__name__)


class ShardWork(ABC):
    """What is done with a shard of samples; sent to worker processes, so networks are loaded when first needed.

    What was made is kept under the hash of all that it depends on, in the store (pictures that are the result
    themselves in their folder), and is never made twice.

    Attributes:
        run: what determines the numbers.
    """

    run: Run

    @abstractmethod
    def is_finished(self, samples: Shard) -> bool:
        """Whether all of it is there."""

    @abstractmethod
    def finish(self, samples: Shard, timer: Timer) -> None:
        """Make what is missing and nothing else."""


def run_shards(work: ShardWork, shards: Sequence[Shard], workers: int = 1, report: Report | None = None) -> Timer:
    """Finish shards, in this process or in `workers` spawned ones; `report(done, total)` after each."""
    with _threads():
        return run_jobs(_finish, [list(s) for s in shards], _start, (work,), work.run.device, workers, report)


def complete(
    work: ShardWork, shards: Sequence[Shard], execution: Execution, label: str, timer: Timer | None = None
) -> Timer | None:
    """Finish the shards of this part.

    Args:
        label: of the progress.
        timer: to which the time is added.

    Returns:
        What it took; None while other parts still have shards to do, which is said.
    """
    part, parts = execution.part
    own = shards[part::parts]
    total = timer or Timer(work.run.device)
    with progress(label, len(own)) as report:
        total.add(run_shards(work, own, execution.workers, report))
    left = sum(not work.is_finished(s) for s in shards)
    if left:
        logger.info("%s: %d of %d shards are left to the other parts", label, left, len(shards))
        return None
    return total


def again_if_lost(measure: Callable[P, T]) -> Callable[P, T]:
    """Decorator of what finishes shards and merges them: where a merge finds one damaged, it is made again at once."""

    @wraps(measure)
    def measured(*args: P.args, **kwargs: P.kwargs) -> T:
        lost: set[str] = set()
        while True:
            try:
                return measure(*args, **kwargs)
            except LostShard as error:
                if error.path in lost:  # it was made again and does not stay
                    raise
                lost.add(error.path)

    return measured


@contextmanager
def _threads() -> Iterator[None]:
    """Afterwards this process computes with as many threads as before, whatever the run asked for."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


_worker: dict[str, ShardWork] = {}


def _start(work: ShardWork) -> None:
    if work.run.threads:
        import torch

        torch.set_num_threads(work.run.threads)
    _worker["work"] = work


def _finish(samples: list[Sample]) -> Timer:
    work = _worker["work"]
    timer = Timer(work.run.device)
    work.finish(samples, timer)
    sys.stdout.flush()
    return timer
