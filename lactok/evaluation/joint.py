"""Several sources over the same shards: a photograph is prepared, and its part of the metrics computed, once for all.

The shards go into the store under the same keys, with the same bytes, as when each source is measured alone. So this
only makes ready what the sources' own evaluations then find: a source that fails here fails there, with its message.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lactok.errors import DiskError
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import SHARD, Sample
from lactok.evaluation.reconstruction import ReconstructedShard, ReconstructionWork
from lactok.evaluation.shard_scoring import finish_together
from lactok.evaluation.shards import ShardWork, run_part
from lactok.evaluation.sources import Source
from lactok.evaluation.timing import Timer

SHARE = 0.5  # of the free memory that the networks and images of sources measured together may take
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class JointWork(ShardWork):
    """The work of several sources on the same shards.

    Attributes:
        works: the work of each source; all have the same run and store.
        failed: the names of the sources that have failed in this process; they are left out from then on.
    """

    works: tuple[ReconstructionWork, ...]
    failed: set[str] = field(default_factory=set)

    @property
    def run(self) -> Run:  # type: ignore[override]
        """The settings that determine the numbers."""
        return self.works[0].run

    def count(self, samples: Sequence[Sample]) -> int:
        """Return how many images all sources make of a shard."""
        return len(samples) * len(self.works)

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        """Return whether all sources have finished a shard."""
        return all(work.is_finished(samples) for work in self.works)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        """Compute what is missing of a shard by all sources that have not failed.

        The stages of the timer are named `NUMBER STAGE`, after the source's number; see `timer_of`.
        """
        shards: dict[ReconstructedShard, int] = {}

        def failed(shard: ReconstructedShard, error: Exception) -> None:
            name = shard.source.name
            logger.debug("%s fails and is left to its own evaluation: %r", name, error)
            self.failed.add(name)

        for number, work in enumerate(self.works):
            if work.source.name in self.failed:
                continue
            try:
                shards[ReconstructedShard(work, samples, Timer(timer.device))] = number
            except DiskError:
                raise
            except Exception as error:  # its files or weights are gone
                logger.debug("%s fails and is left to its own evaluation: %r", work.source.name, error)
                self.failed.add(work.source.name)
        if shards:
            finish_together(list(shards), failed)
        for shard, number in shards.items():
            timer.add(_renamed(shard.timer, lambda stage, n=number: f"{n} {stage}"))


def _renamed(timer: Timer, name: Any) -> Timer:
    """Return a timer whose stages have the names that `name` gives for theirs; those of None are left out."""
    found = Timer(timer.device)
    for attribute in ("wall", "cpu", "images"):
        for stage, value in getattr(timer, attribute).items():
            new = name(stage)
            if new is not None:
                getattr(found, attribute)[new] += value
    return found


def timer_of(timer: Timer, number: int) -> Timer:
    """Return the times of one source out of a timer of `JointWork`."""
    head = f"{number} "
    return _renamed(timer, lambda stage: stage.removeprefix(head) if stage.startswith(head) else None)


def finish_jointly(
    works: Sequence[ReconstructionWork], shards: Sequence[Sequence[Sample]], execution: Execution
) -> dict[str, Timer]:
    """Finish this part's shards by several sources, those together whose networks fit into memory together.

    Args:
        works: the sources' work.
        shards: the shards of all parts.
        execution: the part and the number of processes.

    Returns:
        The times of sources that were measured together with others, by name.

    Raises:
        DiskError: nothing can be stored any more.
    """
    found: dict[str, Timer] = {}
    named: dict[str, ReconstructionWork] = {}
    for work in works:  # of two of one name the first is measured, and the second finds what it left
        named.setdefault(work.source.name, work)
    for group in _fitting(list(named.values()), execution):
        if len(group) < 2:
            continue
        joint = JointWork(tuple(group))
        label = f"{len(group)} tokenizers together"
        logger.info("%s, over the same photographs: %s", label, ", ".join(work.source.name for work in group))
        try:
            timer = run_part(joint, shards, execution, label)
        except DiskError:
            raise
        except Exception as error:  # such as a worker process that died: each is measured by itself, and says why
            logger.debug("%s: %r", label, error)
            continue
        finally:  # the next ones fit into memory only without these
            for work in group:
                work.source.release()
        found |= {work.source.name: timer_of(timer, number) for number, work in enumerate(group)}
    return found


def _fitting(works: Sequence[ReconstructionWork], execution: Execution) -> list[list[ReconstructionWork]]:
    """Return works in groups, in order, each of which takes no more than its share of the free memory."""
    groups: list[list[ReconstructionWork]] = []
    room = 0.0
    for work in works:
        need = _bytes_needed(work)
        if not groups or need > room:
            groups.append([])
            room = SHARE * free_bytes(work.run.device) / _sharing(work.run, execution)
        groups[-1].append(work)
        room -= need
    return groups


def _sharing(run: Run, execution: Execution) -> int:
    """Return how many processes share the memory of a device; on a Ray cluster as many as a machine has room for."""
    if execution.cluster is None or execution.cluster.workers:
        return max(1, execution.workers)
    takes = dict(execution.cluster.resources)
    if run.device_kind == "cuda":
        return max(1, int(1 / (takes.get("gpu") or 1)))
    return max(1, int((os.cpu_count() or 1) / (takes.get("cpu") or run.threads)))


def _bytes_needed(work: ReconstructionWork) -> int:
    """Return about how many bytes a source's networks take, and its images of a shard on the CPU."""
    how = work.run.protocol.prepare
    side = 1024 if how.keeps_shape else how.resolution or 1024  # where images keep their size, it is not known here
    pictures = SHARD * 3 * side**2 if work.run.device_kind == "cpu" else 0
    return weight_bytes(work.source) + pictures


def weight_bytes(source: Source) -> int:
    """Return about how many bytes the weights of a source take in memory; 0 for those that are there already."""
    if getattr(source, "_loaded", None) is not None:
        return 0
    return sum(asset.size for asset in getattr(getattr(source, "spec", None), "assets", ()))


def free_bytes(device: str) -> int:
    """Return the free memory of a device in bytes; of the main memory what programs can have without swapping."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):  # another system than Linux
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") // 2 if pages > 0 else 4 * 2**30
