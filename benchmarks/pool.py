"""Jobs in this process or in spawned ones, and what they took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from lactok.device import synchronize
from lactok.errors import UserError

Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass
class Timer:
    """Wall and CPU seconds by stage; `device` work is waited for."""

    device: str = "cpu"
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            synchronize(self.device)
            self.wall[name] += time.perf_counter() - wall
            self.cpu[name] += time.process_time() - cpu

    def add(self, other: Timer) -> None:
        for name in other.wall:
            self.wall[name] += other.wall[name]
            self.cpu[name] += other.cpu[name]


def run_jobs(
    start: Callable[..., None], arguments: tuple[object, ...], work: Callable[[Job], Done], jobs: Sequence[Job],
    workers: int,
) -> Iterator[Done]:  # fmt: skip
    """`work(job)` of each job, as they end, in this process or in `workers` spawned ones.

    Args:
        start: called with `arguments` once in every process, before its first job.

    Raises:
        UserError: a worker died.
    """
    if workers <= 1 or len(jobs) <= 1:
        start(*arguments)
        yield from map(work, jobs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, start, arguments) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process died, perhaps for want of memory: use fewer --workers or a smaller --batch-size "
                "and run again, finished shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
