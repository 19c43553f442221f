"""Measuring how many seconds each stage of the work takes, and for how many images."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lactok.device import synchronize


@dataclass
class Timer:
    """Adds up times by stage.

    Attributes:
        device: the device that computes; a stage ends when it has done its work.
        wall: stage -> seconds of wall time.
        cpu: stage -> seconds of CPU time of this process.
        images: stage -> number of images that went through it.
    """

    device: str = "cpu"
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    images: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def stage(self, name: str, images: int = 0) -> Iterator[None]:
        """Time what is done inside the `with` block, which is the stage `name` of so many images."""
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
        """Add the times and images of another timer, such as that of a worker process."""
        for name in other.wall:
            self.wall[name] += other.wall[name]
            self.cpu[name] += other.cpu[name]
        for name, count in other.images.items():
            self.images[name] += count
