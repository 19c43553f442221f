"""Running jobs: in this process, or in several worker processes of this machine, none of which outlives the run.

`Executor` is what the engine needs of whoever runs its jobs; `lactok.evaluation.ray_engine` has that of a Ray cluster.

A worker ends when its parent process has ended, however that happened: a thread waits for it. After Ctrl-C the parent
ends the workers at once, whatever they compute: what is finished is in the store.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import UserError
from lactok.evaluation.progress import Report
from lactok.evaluation.timing import Timer

if TYPE_CHECKING:
    from concurrent.futures import Future
    from multiprocessing.process import BaseProcess

Job = TypeVar("Job")
Submit = Callable[..., "Future[Any]"]


class Executor(ABC):
    """Runs jobs."""

    @abstractmethod
    def run(
        self,
        work: Callable[[Job], Timer],
        jobs: Sequence[Job],
        start: Callable[..., None],
        arguments: tuple[object, ...],
        device: str,
        report: Report | None = None,
    ) -> Timer:
        """Call `work(job)` for each job, in one process or in several.

        Args:
            work: does a job and returns the time that it took; worker processes import it by its name.
            jobs: the jobs; they may be done in any order.
            start: called with `arguments` once in every process, before its first job.
            arguments: what `start` is called with.
            device: the device of the returned timer.
            report: called with (done, total) after each job.

        Returns:
            The times that all jobs took together.

        Raises:
            UserError: a worker process died, or whatever `start` or `work` raise.
        """


@dataclass(frozen=True)
class LocalExecutor(Executor):
    """Runs jobs on this machine.

    Attributes:
        workers: the number of worker processes; with 1, this process does the work.
    """

    workers: int = 1

    def run(
        self,
        work: Callable[[Job], Timer],
        jobs: Sequence[Job],
        start: Callable[..., None],
        arguments: tuple[object, ...],
        device: str,
        report: Report | None = None,
    ) -> Timer:
        total = Timer(device)
        if self.workers <= 1 or len(jobs) <= 1:
            start(*arguments)
            _collect(map(work, jobs), total, len(jobs), report)
            return total
        from concurrent.futures import as_completed
        from concurrent.futures.process import BrokenProcessPool

        with worker_processes(min(self.workers, len(jobs)), start, arguments) as submit:
            futures = [submit(work, job) for job in jobs]
            try:
                _collect((future.result() for future in as_completed(futures)), total, len(jobs), report)
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process died, perhaps for want of memory: use fewer `workers` or a smaller `batch_size` "
                    "and run again, finished shards are kept"
                ) from error
        return total


@contextmanager
def worker_processes(
    count: int, start: Callable[..., None] | None = None, arguments: tuple[object, ...] = ()
) -> Iterator[Submit]:
    """Yield a function that gives a job to one of `count` worker processes and returns its future.

    The processes are new ones of Python and end with the `with` block, when the jobs that have begun are done. After
    Ctrl-C they end at once.

    Args:
        count: the number of processes.
        start: called with `arguments` once in every process, before its first job.
        arguments: what `start` is called with.

    Yields:
        `submit(function, *arguments)`, as that of `concurrent.futures.Executor`.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # unpickled in the worker once it watches its parent, since that may import much
    what = pickle.dumps((start, arguments))
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start_worker, (what,))

    def submit(function: Callable[..., Any], *given: object) -> Future[Any]:
        with _without_interrupts():  # this may start a process
            return pool.submit(function, *given)

    try:
        yield submit
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C; after an error, jobs that have begun are finished
            _end(set(multiprocessing.active_children()) - before)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end(processes: set[BaseProcess]) -> None:
    """End processes now, whatever they do; files are written whole or not at all."""
    for process in processes:
        process.kill()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the `with` block; processes that are started in it never see one."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(what: bytes) -> None:
    """Prepare a worker process: let it end when its parent process has ended, even if that was killed; then start.

    Args:
        what: (start, arguments), pickled.
    """
    import multiprocessing
    import os
    import signal
    import threading

    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    start, arguments = pickle.loads(what)
    if start is not None:
        start(*arguments)


def _collect(results: Iterator[Timer], total: Timer, jobs: int, report: Report | None) -> None:
    """Add each job's times to `total` as they come in, and report how many of all jobs are done."""
    for done, timer in enumerate(results, 1):
        total.add(timer)
        if report is not None:
            report(done, jobs)
