"""Jobs in this process or in spawned ones, and what they took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from lactok.evaluation.progress import Report
from lactok.device import synchronize
from lactok.errors import UserError

Job = TypeVar("Job")


@dataclass
class Timer:
    """Wall and CPU seconds by stage, and how many images went through it; `device` work is waited for."""

    device: str = "cpu"
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    images: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def stage(self, name: str, images: int = 0) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            synchronize(self.device)
            self.wall[name] += time.perf_counter() - wall
            self.cpu[name] += time.process_time() - cpu
            if images:
                self.images[name] += images

    def add(self, other: Timer) -> None:
        for name in other.wall:
            self.wall[name] += other.wall[name]
            self.cpu[name] += other.cpu[name]
        for name, count in other.images.items():
            self.images[name] += count


def run_jobs(
    work: Callable[[Job], Timer], jobs: Sequence[Job], start: Callable[..., None], arguments: tuple[object, ...],
    device: str, workers: int = 1, report: Report | None = None,
) -> Timer:  # fmt: skip
    """`work(job)` of each job, in this process or in `workers` spawned ones; what they took together.

    Args:
        start: called with `arguments` once in every process, before its first job.
        report: called with (done, total) after each job.

    Raises:
        UserError: a worker died.
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
    with ProcessPoolExecutor(min(workers, len(jobs)), context, start, arguments) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            _collect((future.result() for future in as_completed(futures)), total, len(jobs), report)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process died, perhaps for want of memory: use fewer --workers or a smaller --batch-size "
                "and run again, finished shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return total


def _collect(results: Iterator[Timer], total: Timer, jobs: int, report: Report | None) -> None:
    for done, timer in enumerate(results, 1):
        total.add(timer)
        if report is not None:
            report(done, jobs)
