"""What generators have in common that predict a tokenizer's ids: the tokenizer makes the image of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from lactok import registry
from lactok.device import exact_float32
from lactok.errors import WrongValue
from lactok.metrics.scorer import batches
from lactok.specs import GeneratorSpec
from lactok.tokenizer import Generator, Tokenizer

AHEAD = 256  # conditions that are read together; a list of any length takes no more memory


class IdGenerator(Generator):
    """Predicts ids; the tokenizer that `spec.tokenizer` names turns them into images.

    An adapter implements `_ids` instead of `_generate`, and `_prepare` if conditions are worth being read together.

    Attributes:
        tokenizer: loaded by `place`.
    """

    tokenizer: Tokenizer

    def __init__(self, spec: GeneratorSpec):
        super().__init__(spec)
        if spec.tokenizer is None:
            raise WrongValue(f"{spec.name}: its spec names no tokenizer")

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move the network `self.model` to `device`, and load the tokenizer there.

        Raises:
            WeightsNotFound: the tokenizer's weights cannot be had.
        """
        self.dtype = dtype
        self.get_submodule("model").to(device)
        self.tokenizer = registry.load(str(self.spec.tokenizer), device, dtype)

    def _prepare(self, conditions: list[str] | list[int]) -> None:
        """Read conditions of which images will be made; nothing by default."""

    def _ids(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        """Return the ids of images, (B, L) int64, of B conditions; `seeds` are (B,) int64 on the CPU."""
        raise NotImplementedError(f"{self.spec.name} predicts no ids")

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        ids = self._ids(conditions, seeds)
        if self.device.type != "cpu":
            return self.tokenizer.decode(ids, seeds)
        # one by one, as a stream does: on a CPU, the number of images would change their last bits
        return torch.cat([self.tokenizer.decode(ids[i : i + 1], seeds[i : i + 1]) for i in range(len(ids))])

    def stream(
        self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], batch: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Generate many images as `Generator.stream`; on a GPU, ids are predicted while earlier ones become images."""
        if not seeds:
            return
        self._check_arguments(conditions, seeds)
        work = self.overlapped if self.device.type == "cuda" else self.in_turn
        yield from work(conditions, seeds, batch)

    def in_turn(
        self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], batch: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Do the work of `stream`: predict the ids of a batch, then make their images one by one."""
        for place in self._read_ahead(conditions, batch):
            numbers, ids = self._predicted(conditions[place], seeds[place], batch)
            for i in range(len(ids)):
                yield slice(place.start + i, place.start + i + 1), self._images(ids[i : i + 1], numbers[i : i + 1])

    def overlapped(
        self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], batch: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Do the work of `stream`: predict the ids of a batch while those of the batch before become images."""
        waiting: tuple[slice, Future[Tensor]] | None = None
        # exact for as long as both work: the switch is one for all threads
        with exact_float32(), Overlap(self.device, self._images) as overlap:
            for place in self._read_ahead(conditions, batch):
                numbers, ids = self._predicted(conditions[place], seeds[place], batch)
                begun = place, overlap.begin(ids, numbers)
                if waiting:
                    yield waiting[0], overlap.result(waiting[1])
                waiting = begun
            if waiting:
                yield waiting[0], overlap.result(waiting[1])

    def _images(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return self._checked_images(self.tokenizer.decode(ids, seeds), len(seeds))

    def _read_ahead(self, conditions: Sequence[str] | Sequence[int], batch: int) -> Iterator[slice]:
        """Yield the places of batches, and read conditions together before their images are made, `AHEAD` at a time."""
        together = max(1, AHEAD // batch) * batch
        for place in batches(len(conditions), batch):
            if place.start % together == 0:
                self._read(conditions[place.start : place.start + together])
            yield place

    @torch.inference_mode()
    def _read(self, conditions: Sequence[str] | Sequence[int]) -> None:
        with self._compute():
            self._prepare(list(conditions))  # type: ignore[arg-type]

    @torch.inference_mode()
    def _predicted(
        self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], batch: int
    ) -> tuple[Tensor, Tensor]:
        """Return the seeds (B,) and the ids (B, L) of B conditions.

        The network always gets a whole batch: with fewer rows, the last bits of its sums could be others.
        """
        filled = list(conditions) + [conditions[-1]] * (batch - len(conditions))
        numbers = torch.tensor(list(seeds) + [seeds[-1]] * (batch - len(seeds)), dtype=torch.int64)
        with self._compute():
            ids = self._ids(filled, numbers)  # type: ignore[arg-type]
        return numbers[: len(seeds)], ids[: len(seeds)]


class Overlap:
    """Makes images of ids on a thread and a stream of its own, while the caller goes on to predict ids.

    Args:
        device: where both compute; on the CPU they share the cores, and nothing is won.
        images: makes images (B, 3, S, S) of ids (B, L) and seeds (B,).
    """

    def __init__(self, device: torch.device, images: Callable[[Tensor, Tensor], Tensor]):
        self.device, self.images = device, images
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.threads = ThreadPoolExecutor(1)

    def __enter__(self) -> Overlap:
        return self

    def __exit__(self, *error: object) -> None:
        self.threads.shutdown(cancel_futures=True)

    def begin(self, ids: Tensor, seeds: Tensor) -> Future[Tensor]:
        """Begin to make the images of ids that the caller's stream has predicted, or will have."""
        predicted = torch.cuda.current_stream(self.device).record_event() if self.stream else None
        return self.threads.submit(self._make, ids, seeds, predicted)

    def result(self, images: Future[Tensor]) -> Tensor:
        """Return images once they are made; their memory is not used again before the caller's stream has read them."""
        found = images.result()
        if self.stream is not None:
            found.record_stream(torch.cuda.current_stream(self.device))
        return found

    def _make(self, ids: Tensor, seeds: Tensor, predicted: torch.cuda.Event | None) -> Tensor:
        if self.stream is None or predicted is None:
            return self.images(ids, seeds)
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(predicted)
            ids.record_stream(self.stream)
            images = self.images(ids, seeds)
        self.stream.synchronize()  # the caller's stream may use them
        return images
