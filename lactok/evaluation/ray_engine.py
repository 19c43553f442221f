"""Running jobs on a Ray cluster, one that runs already or one that is started here; `docs/cluster.md` explains it.

Each worker process is an actor, so that it keeps the networks that it has loaded, and its GPU. This process gives it
one job after the other. The jobs of a worker that died are done again, but none more than `TRIES` times.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lactok.errors import ClusterError, UserError, WrongValue, disk_errors, one_line
from lactok.evaluation import elsewhere as far
from lactok.evaluation.cluster import Cluster, check_address
from lactok.evaluation.datasets import Sample
from lactok.evaluation.executors import Executor, Job
from lactok.evaluation.progress import Report
from lactok.evaluation.ray_worker import Facts, KeeperActor, Worker, same_everywhere
from lactok.evaluation.store import LostShard
from lactok.evaluation.timing import Timer
from lactok.files import temporary, tidy
from lactok.outside_text import shown

TRIES = 3  # how often a job is tried whose worker dies
SLOW = 60.0  # seconds without news after which a line says what is waited for
OBJECT_STORE = 128 << 20  # bytes of Ray's object store where Ray is started here: shards are small
# A thread of Ray that is left over and asks something of a cluster that has ended has Ray end this process without a
# word when it has waited so many seconds: a minute, unless this is set.
PATIENCE = ("RAY_gcs_rpc_server_reconnect_timeout_s", str(24 * 60 * 60))
RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}
PASSED_ON = ("LACTOK_", "HF_", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")
logger = logging.getLogger(__name__)

_started: list[bool] = []  # not empty where Ray was started, or a cluster joined, by this module


class RayExecutor(Executor):
    """Runs jobs on a Ray cluster.

    Args:
        cluster: the cluster, as it is asked for.
        out: the folder of results; workers that do not see it send what they make.
        threads: the threads of each worker, as many cores as a task takes by default.
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
        needs = self.cluster.for_task(device, self.threads)
        with redirect_stdout(sys.stderr):  # Ray prints its messages to standard output, where tables go
            connect(self.cluster, needs)
            count = min(len(jobs), self.cluster.workers or room(needs))
            what = far.packed((work, start, arguments))
            with probe(self.out) as seen:
                crew = _Crew(self.out, seen if self.cluster.shared else "", what, jobs, needs, device)
                for done, timer in enumerate(crew.timers(count), 1):
                    total.add(timer)
                    if report is not None:
                        report(done, len(jobs))
        return total


def connect(cluster: Cluster, needs: Mapping[str, float]) -> None:
    """Join a cluster or start one, unless this process is connected already.

    Args:
        cluster: the cluster, as it is asked for.
        needs: what a task takes; a cluster that is started here has cores for it, and for `workers` such tasks.

    Raises:
        ClusterError: the address is none of a cluster, no cluster answers there, or none can be started.
    """
    import ray

    if ray.is_initialized():  # by the user's program, or for an earlier tokenizer
        return
    address, said_by = cluster.address, "`ray_address`"
    if address is None:
        address, said_by = os.environ.get("RAY_ADDRESS") or None, "RAY_ADDRESS"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None or address == "local":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault(*PATIENCE)
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            cores = max(cores, math.ceil(needs["cpu"] * (cluster.workers or 1)))
            store: dict[str, Any] = {"object_store_memory": OBJECT_STORE, "include_dashboard": False}
            ray.init("local", num_cpus=cores, **store, **quiet)
        else:
            check_address(address, said_by)
            _check_answers(address, said_by)
            ray.init(address, **quiet)
    except ClusterError:
        raise
    except WrongValue as error:
        raise ClusterError(str(error)) from error
    except Exception as error:  # Ray's errors of connecting have no common class
        where, token = "Ray cannot be started here", ""
        if address:
            where = f"{said_by} {address}: no Ray cluster can be joined there"
            token = "; where it asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to that of its head"
        raise ClusterError(f"{where} ({one_line(error)}){token}") from error
    _started.append(True)


def end() -> None:
    """Leave the cluster that `connect` joined, and end the one that it started; the user's own connection stays."""
    if _started:
        import ray

        _started.clear()
        ray.shutdown()


def _check_answers(address: str, said_by: str) -> None:
    """Raise ClusterError if nothing listens at an address, for which Ray itself waits minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise ClusterError(
                f"{said_by} {address}: nothing answers there ({error.strerror or error}); start a cluster by "
                "`ray start --head`, or leave the address out to have one started here"
            ) from error


def room(needs: Mapping[str, float]) -> int:
    """Return how many tasks the machines of the cluster have room for; raise ClusterError if for none."""
    import ray

    names = {RAY_NAMES.get(name, name): amount for name, amount in needs.items() if amount}
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    found = sum(min(int(m.get(n, 0) / amount + 1e-9) for n, amount in names.items()) for m in machines)
    if not found:
        wanted = ", ".join(f"{name} {amount:g}" for name, amount in names.items())
        most = ", ".join(f"{name} {max((m.get(name, 0) for m in machines), default=0):g}" for name in names)
        raise ClusterError(
            f"no machine of the cluster has what a task takes ({wanted}; the most that one has: {most}): say it by "
            "`ray_resources`, use fewer `threads`, or name the number of `workers` to wait for machines that come later"
        )
    return found


@contextmanager
def probe(out: Path) -> Iterator[str]:
    """Write a file into a folder of results, by which workers know that they see it, and yield its path."""
    path = temporary(out / "probe")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        tidy(out, earlier=False)  # of killed runs
        path.write_bytes(b"")
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


@dataclass
class _Worker:
    """A worker process.

    Attributes:
        actor: Ray's handle.
        host: its machine; "" until that is known.
        job: the number of the job that it does, None before its first one.
    """

    actor: Any
    host: str = ""
    job: int | None = None


class _Crew:
    """The worker processes of a run, and which does which job."""

    def __init__(
        self, out: Path, probe: str, what: bytes, jobs: Sequence[Any], needs: Mapping[str, float], device: str
    ):
        import ray

        self.ray, self.out, self.probe, self.jobs, self.device = ray, out, probe, jobs, device
        self.what = ray.put(what)
        self.same = same_everywhere(device)
        self.waiting = deque(range(len(jobs)))
        self.deaths: Counter[int | None] = Counter()  # by job; of workers without one under None
        self.busy: dict[Any, _Worker] = {}  # by Ray's reference of what it is asked for
        self.keeper: Any = None
        self.actors: list[Any] = []  # all that were started, the keeper among them
        more = {name: amount for name, amount in needs.items() if name not in ("cpu", "gpu", "memory") and amount}
        self.options = {
            "num_cpus": needs["cpu"],
            "num_gpus": needs["gpu"],
            "memory": needs.get("memory") or None,
            "resources": more or None,
            "max_restarts": 0,
            "runtime_env": {"env_vars": environment()},
        }

    def timers(self, count: int) -> Iterator[Timer]:
        """Do all jobs, and yield the time that each took.

        Args:
            count: the number of workers.
        """
        try:
            for _ in range(count):
                self._hire()
            left = len(self.jobs)
            while left:
                done, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=SLOW)
                if not done and not any(worker.host for worker in self.busy.values()):
                    logger.info("waiting for the Ray cluster to have room for a worker")
                for reference in done:
                    timer = self._hear(reference)
                    if timer is not None:
                        left -= 1
                        yield timer
        except Exception:  # jobs that have begun are finished, as other workers do
            working = [reference for reference, worker in self.busy.items() if worker.job is not None]
            self.ray.wait(working, num_returns=len(working)) if working else None
            raise
        finally:
            for actor in self.actors:
                self.ray.kill(actor)

    def _hire(self) -> None:
        """Start a worker, and let it look around."""
        actor = self.ray.remote(Worker).options(**self.options).remote()
        self.actors.append(actor)
        look: Any = actor.look
        self.busy[look.remote(os.getcwd(), self.probe, self.device)] = _Worker(actor)

    def _hear(self, reference: Any) -> Timer | None:
        """Take what a worker has done, and ask it for the next thing; return the time of a job that is done."""
        worker = self.busy.pop(reference)
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._bury(worker, error)
            return None
        try:
            value = answer.result()
        except UserError as error:
            if worker.host not in ("", platform.node()) and not isinstance(error, LostShard):
                error.args = (f"{error} (on {worker.host})", *error.args[1:])
            raise
        if isinstance(value, Facts):
            self._welcome(worker, value)
            return None
        if worker.job is not None:
            self.deaths[None] = 0
        self._next_job(worker)
        return value if isinstance(value, Timer) else None

    def _welcome(self, worker: _Worker, facts: Facts) -> None:
        """Send the work to a worker that has looked around.

        Raises:
            ClusterError: it would compute other numbers than this process expects.
        """
        worker.host = facts.host
        for name, here in self.same.items():
            if facts.same.get(name) != here:
                raise ClusterError(
                    f"{facts.host} has {name} {facts.same.get(name)} and this machine {here}, which give other "
                    "numbers; let all machines have the same, or keep the others out by `ray_resources`"
                )
        if not facts.sees and self.keeper is None:
            self.keeper = self._keep()
        keeper = None if facts.sees else self.keeper
        self.busy[worker.actor.begin.remote(self.what, str(self.out), keeper)] = worker

    def _keep(self) -> Any:
        """Start the keeper of the folder of results on this machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here, "runtime_env": self.options["runtime_env"]}
        keeper = self.ray.remote(KeeperActor).options(**options).remote(str(self.out))
        self.actors.append(keeper)
        return keeper

    def _next_job(self, worker: _Worker) -> None:
        """Ask a worker for the next job, or end it if there is none."""
        if not self.waiting:
            self.ray.kill(worker.actor)
            return
        worker.job = self.waiting.popleft()
        self.busy[worker.actor.do.remote(far.packed(self.jobs[worker.job], looks=True))] = worker

    def _bury(self, worker: _Worker, error: Exception) -> None:
        """Put back the job of a worker that died, and start another worker.

        Raises:
            UserError: that has happened too often.
        """
        missing = re.search(r"(ModuleNotFoundError|ImportError): .*", str(error))
        if worker.job is None and missing is not None:
            raise ClusterError(
                f"a worker of the Ray cluster cannot start ({one_line(missing[0])}): install the same packages on all "
                "of its machines"
            ) from error
        self.deaths[worker.job] += 1
        if self.deaths[worker.job] >= TRIES:
            kind: type[UserError]
            what, kind = "workers died before their first shard", ClusterError
            if worker.job is not None:
                what, kind = f"{_name(self.jobs[worker.job])}: the worker that did it died", UserError
            raise kind(
                f"{what}, {TRIES} times in a row, perhaps for want of memory: let a task take more by `ray_resources`, "
                "or use a smaller `batch_size`, and run again, finished shards are kept"
            ) from error
        then = "another one is started"
        if worker.job is not None:
            then = "its shard is done again"
            self.waiting.appendleft(worker.job)
        logger.warning("a worker died%s; %s", f" on {worker.host}" if worker.host else "", then)
        self.ray.kill(worker.actor)  # where it only cannot be reached
        self._hire()


def _name(job: Any) -> str:
    """Return what messages call a job: a shard by its first sample."""
    first = job[0] if isinstance(job, list) and job else None
    return f"the shard that begins with {shown(first.id)}" if isinstance(first, Sample) else "a job"


def environment() -> dict[str, str]:
    """Return the environment variables that workers need: where code and weights are, and the numbers of threads."""
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return found | {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)}
