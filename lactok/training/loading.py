"""Pictures that are loaded in threads, ahead of the steps that need them.

Decoding and resizing release Python's lock, so that threads suffice. What a picture is depends on its position alone,
so that it is the same whatever the number of threads, and a training that is resumed asks for the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

Load = Callable[[int, range], Tensor]  # step and positions -> images (len(positions), 3, S, S)


class Ahead:
    """Loads the pictures of the next parts of batches while the current one is trained on.

    Args:
        load: loads the pictures of a part.
        parts: yields step and positions of every part from a step on, in order, to the last step.
        loaders: number of threads, and of parts that are loaded ahead; 0 to load a part when it is asked for.
    """

    def __init__(self, load: Load, parts: Callable[[int], Iterator[tuple[int, range]]], loaders: int):
        self.load, self.parts, self.loaders = load, parts, loaders
        self._pool: ThreadPoolExecutor | None = None
        self._upcoming: Iterator[tuple[int, range]] = iter(())
        self._waiting: list[tuple[tuple[int, range], Future[Tensor]]] = []

    def get(self, step: int, positions: range) -> Tensor:
        """Return the pictures of a part; the parts after it are loaded from now on.

        Raises:
            UserError: as the function `load` does, for this part alone.
        """
        if not self.loaders:
            return self.load(step, positions)
        wanted = (step, positions)
        if not self._waiting or self._waiting[0][0] != wanted:
            self._begin(wanted)
        _, future = self._waiting.pop(0)
        self._fill()
        return future.result()

    def _begin(self, wanted: tuple[int, range]) -> None:
        """Let the parts that wait begin with the one that is wanted: at the start, and where steps were left out."""
        self.close()
        self._pool = ThreadPoolExecutor(self.loaders, thread_name_prefix="pictures")
        self._upcoming = self.parts(wanted[0])
        for part in self._upcoming:
            if part == wanted:
                break
        self._waiting = [(wanted, self._pool.submit(self.load, *wanted))]

    def _fill(self) -> None:
        """Begin to load as many parts as there are threads."""
        assert self._pool is not None
        while len(self._waiting) < self.loaders:
            part = next(self._upcoming, None)
            if part is None:
                return
            self._waiting.append((part, self._pool.submit(self.load, *part)))

    def close(self) -> None:
        """End the threads; what they have loaded is dropped."""
        self._waiting = []
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
