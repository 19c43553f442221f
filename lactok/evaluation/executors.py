"""Running jobs in this process or in several worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lactok.errors import UserError
from lactok.evaluation.progress import Report
from lactok.evaluation.timing import Timer

Job = TypeVar("Job")


def run_jobs(
    work: Callable[[Job], Timer],
    jobs: Sequence[Job],
    start: Callable[..., None],
    arguments: tuple[object, ...],
    device: str,
    workers: int = 1,
    report: Report | None = None,
) -> Timer:
    """Call `work(job)` for each job, in this process or in several worker processes.

    Args:
        work: does a job and returns the time that it took; worker processes import it by its name.
        jobs: the jobs; they may be done in any order.
        start: called with `arguments` once in every process, before its first job.
        arguments: what `start` is called with.
        device: the device of the returned timer.
        workers: the number of worker processes; with 1, this process does the work.
        report: called with (done, total) after each job.

    Returns:
        The times that all jobs took together.

    Raises:
        UserError: a worker process died.
    """
    total = Timer(device)
    if workers <= 1 or len(jobs) <= 1:
        start(*arguments)
        _collect(map(work, jobs), total, len(jobs), report)
        return total
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _start_worker, (start, arguments)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            _collect((future.result() for future in as_completed(futures)), total, len(jobs), report)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process died, perhaps for want of memory: use fewer `workers` or a smaller `batch_size` "
                "and run again, finished shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return total


def _start_worker(start: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Prepare a worker process: let it end when its parent process ends, even if that is killed; then call `start`."""
    import multiprocessing
    import os
    import threading

    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    start(*arguments)


def _collect(results: Iterator[Timer], total: Timer, jobs: int, report: Report | None) -> None:
    """Add each job's times to `total` as they come in, and report how many of all jobs are done."""
    for done, timer in enumerate(results, 1):
        total.add(timer)
        if report is not None:
            report(done, jobs)
