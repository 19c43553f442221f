"""Running the steps of a construction on Ray Data: a data set of shards, mapped by a pool of actors.

The folder of the shards has to be seen by all machines of the cluster. What goes through Ray are the names of shards;
pictures go by the folder, where they are stored anyhow, so that nothing is lost when the cluster is.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lactok.errors import ClusterError
from lactok.evaluation.cluster import Cluster
from lactok.evaluation.executors import Executor, Job
from lactok.evaluation.progress import Report
from lactok.evaluation.ray_engine import connect, environment, probe, room
from lactok.evaluation.ray_worker import answers
from lactok.evaluation.timing import Timer


@dataclass(frozen=True)
class Task:
    """What an actor is sent: a shard, and all that it needs to begin, which is little.

    Attributes:
        job: the shard's name.
        work: what does a job.
        start: called with `arguments` before an actor's first job.
        arguments: what `start` is called with.
        seen: a file in the folder of the shards.
        folder: the working folder where the command runs.
    """

    job: Any
    work: Callable[[Any], Timer]
    start: Callable[..., None]
    arguments: tuple[object, ...]
    seen: str
    folder: str


class ShardActor:
    """Does a step on one shard after the other, in a process of a Ray cluster."""

    def __init__(self) -> None:
        self.has_begun = False

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"answer": pickle.dumps(self.do(row["task"]))}

    @answers
    def do(self, packed: bytes) -> Timer:
        """Do a task and return the time that it took.

        Raises:
            ClusterError: this machine does not see the folder of the shards.
        """
        task: Task = pickle.loads(packed)
        if not self.has_begun:
            if os.path.isdir(task.folder):
                os.chdir(task.folder)
            if not os.path.exists(task.seen):
                where = os.path.dirname(task.seen)
                raise ClusterError(f"{platform.node()} does not see `out` {where}: let all machines mount that folder")
            task.start(*task.arguments)
            self.has_begun = True
        return task.work(task.job)


class RayDataExecutor(Executor):
    """Runs jobs by Ray Data.

    Args:
        cluster: the cluster, as it is asked for.
        out: the folder of the shards.
        threads: the threads of each actor, as many cores as it takes by default.
    """

    def __init__(self, cluster: Cluster, out: Path, threads: int):
        self.cluster, self.out, self.threads = cluster, Path(os.path.abspath(out)), threads

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
        if not jobs:
            return total
        import ray.data

        needs = self.cluster.for_task(device, self.threads)
        more = {name: amount for name, amount in needs.items() if name not in ("cpu", "gpu", "memory") and amount}
        with redirect_stdout(sys.stderr), probe(self.out) as seen:  # Ray prints its messages to standard output
            # Ray warns that it may not restart an actor, which has nothing to lose here
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            connect(self.cluster, needs)
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            size = min(len(jobs), self.cluster.workers or room(needs))
            tasks = [Task(job, work, start, arguments, seen, os.getcwd()) for job in jobs]
            rows = [{"task": pickle.dumps(task)} for task in tasks]
            data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                ShardActor,
                compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
                num_cpus=needs["cpu"],
                num_gpus=needs["gpu"],
                memory=needs.get("memory") or None,
                resources=more or None,
                runtime_env={"env_vars": environment()},
            )
            for done, row in enumerate(data.iter_rows(), 1):
                total.add(pickle.loads(row["answer"]).result())
                if report is not None:
                    report(done, len(jobs))
        return total
