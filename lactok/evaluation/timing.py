"""Seconds by stage, and the images that they were spent on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lactok.device import synchronize


@dataclass
class Timer:
    """Wall and CPU seconds by stage, and how many images went through it; `device` work is waited for."""

    device: str = "cpu"
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    images: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def stage(self, name: str, images: int = 0) -> Iterator[None]:
        """Time what is done inside; `images` are counted for the stage."""
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
        """What another process took, too."""
        for name in other.wall:
            self.wall[name] += other.wall[name]
            self.cpu[name] += other.cpu[name]
        for name, count in other.images.items():
            self.images[name] += count
