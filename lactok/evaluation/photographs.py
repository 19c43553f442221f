"""The photographs of a shard, prepared once for all sources of a command, by threads that are ahead of the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np

from lactok import images
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.shapes import shaped_batches
from lactok.metrics.registry import find

AHEAD = 8  # photographs that are prepared before they are asked for
THREADS = 4  # that do it, where there are as many processors


class Photographs:
    """The prepared photographs of a shard by their positions in it; use it in a `with` block, which ends its threads.

    Each photograph is opened once, in the order of the positions, and kept until the end of the block.

    Args:
        samples: the samples of the shard.
        run: the run, whose protocol says how photographs are prepared.
    """

    def __init__(self, samples: Sequence[Sample], run: Run):
        self.samples, self.how = samples, run.protocol.prepare
        self.needy = max(map(find, run.protocol.score.metrics), key=lambda metric: metric.smallest)
        self._threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), "photographs")
        self._begun: list[Future[np.ndarray]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._begun.clear()

    def __getitem__(self, position: int) -> np.ndarray:
        """Return a prepared photograph (H, W, 3) uint8.

        Raises:
            UnreadableImage: it cannot be used, or is too small for one of the metrics.
        """
        for i in range(len(self._begun), min(len(self.samples), position + 1 + AHEAD)):
            self._begun.append(self._threads.submit(self._prepare, self.samples[i]))
        return self._begun[position].result()

    def _prepare(self, sample: Sample) -> np.ndarray:
        reference = images.prepare(sample.open(self.how.upright), self.how)
        height, width = reference.shape[:2]
        if self.how.keeps_shape and min(height, width) < self.needy.smallest:
            needs = f"{self.needy.key} needs {self.needy.smallest} a side"
            raise images.UnreadableImage(f"has {width}x{height} pixels; {needs}")
        return reference

    def batches(self, size: int, wanted: Callable[[int], bool]) -> Iterator[list[int]]:
        """Yield the positions of the photographs that are wanted, in batches of one shape.

        Where all have one shape, a batch is yielded as soon as its photographs are there.

        Args:
            size: the number of photographs of a batch, at most.
            wanted: says whether a photograph is to be used; called once for each position, in order.
        """
        if self.how.keeps_shape:
            found = [i for i in range(len(self.samples)) if wanted(i)]
            for places in shaped_batches([self[i] for i in found], size):
                yield [found[place] for place in places]
            return
        batch: list[int] = []
        for i in range(len(self.samples)):
            if wanted(i):
                batch.append(i)
            if len(batch) == size or (batch and i == len(self.samples) - 1):
                yield batch
                batch = []
