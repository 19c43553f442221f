"""Computing a shard of samples by one source or by several at once.

Photographs are prepared once, and what metrics need of them alone is computed once for all sources. Each source's
numbers are the same bytes as when it is alone: the batches that its network and its metrics get do not depend on the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from lactok import images
from lactok.device import exact_float32
from lactok.errors import DiskError
from lactok.evaluation.config import Run
from lactok.evaluation.photographs import Photographs
from lactok.evaluation.progress import worked
from lactok.evaluation.shapes import groups, joined, shaped_batches
from lactok.evaluation.store import Arrays
from lactok.metrics.scorer import BATCH, batches

if TYPE_CHECKING:
    from lactok.evaluation.reconstruction import ReconstructedShard

Failed = Callable[["ReconstructedShard", Exception], None]


def finish_together(shards: Sequence[ReconstructedShard], failed: Failed | None = None) -> None:
    """Compute what is missing of a shard of samples by several sources.

    Args:
        shards: the same samples, by each of the sources.
        failed: called with a source's shard and the error if the source fails; the other sources go on. If it is not
            given, the error is raised.

    Raises:
        DiskError: nothing can be stored any more.
    """
    going = list(shards)

    def each(do: Callable[[ReconstructedShard], object]) -> None:
        for shard in list(going):
            try:
                do(shard)
            except DiskError:
                raise
            except Exception as error:  # one adapter's bug must not stop the others
                if failed is None:
                    raise
                going.remove(shard)
                failed(shard, error)

    scorings: list[Scoring] = []
    unfinished: list[ReconstructedShard] = []
    each(lambda shard: None if shard.is_scored() else unfinished.append(shard))
    if unfinished:
        with Photographs(shards[0].samples, shards[0].run) as photographs:
            each(lambda s: scorings.extend(_begin(s, photographs)) if s in unfinished else None)
            while scorings:
                same = [s for s in scorings if s.kept == scorings[0].kept]
                scorings = [s for s in scorings if s not in same]
                together = {scoring.shard: scoring for scoring in same}

                def step(do: Callable[[Scoring], object], scored: Mapping[Any, Scoring] = together) -> None:
                    each(lambda shard: do(scored[shard]) if shard in scored else None)

                _score(same, photographs, step)
    each(lambda shard: shard.finish_pictures())


def _begin(shard: ReconstructedShard, photographs: Photographs) -> list[Scoring]:
    """Encode what is not encoded, store the photographs' features, and return what is to be scored, at most one."""
    kept = shard.encode(photographs)
    shard.store_features(photographs)
    return [] if shard.has_scores() else [Scoring(shard, photographs, kept)]


def _score(
    scorings: Sequence[Scoring], photographs: Photographs, step: Callable[[Callable[[Scoring], object]], None]
) -> None:
    """Decode, score and store the same positions of a shard for several sources.

    Args:
        scorings: the sources' work, all with the same `kept`.
        photographs: the photographs.
        step: calls a function for each of those that have not failed.
    """
    first = scorings[0]
    scorer, references = first.shard.scorer, [photographs[i] for i in first.kept]
    with Aside(first.shard.run.device) as aside:
        for group in groups(references):
            for piece in scorer.pieces(len(group), *references[group[0]].shape[:2]):
                compared = compared_with(references, group[piece], first.shard.run)
                known: dict[str, Any] | None = {} if len(scorings) > 1 else None
                step(methodcaller("score_piece", group[piece], compared, known, aside))
            step(methodcaller("end_group", group, references))
    step(methodcaller("store", references))


class Scoring:
    """One source's work of decoding and scoring a shard.

    Args:
        shard: the source's shard.
        photographs: its photographs.
        kept: the positions of those that are scored. Places are indices into it.
    """

    def __init__(self, shard: ReconstructedShard, photographs: Photographs, kept: list[int]):
        self.shard, self.photographs, self.kept = shard, photographs, kept
        self.outputs: dict[int, Tensor] = {}  # place -> (3, H, W) uint8
        self.bits = np.zeros(len(kept))
        self._decoding = self._decode()
        self._values: list[Future[dict[str, np.ndarray]]] = []  # of the pieces of a group
        self._parts: list[tuple[list[int], Arrays]] = []  # of the groups that are done

    def _decode(self) -> Generator[None, None, None]:
        """Decode a batch at each step."""
        shard, ids = self.shard, self.shard.ids()
        references = [self.photographs[i] for i in self.kept]
        for places in shaped_batches(references, shard.run.micro_batch):
            with shard.timer.stage("decode", len(places)):
                made, used = shard.outputs([references[i] for i in places], [self.kept[i] for i in places], ids)
            self.outputs |= dict(zip(places, made, strict=True))
            self.bits[places] = used.numpy()
            worked(len(places) / 2 if ids else len(places))
            yield

    def score_piece(self, places: list[int], compared: Tensor, known: dict[str, Any] | None, aside: Aside) -> None:
        """Decode and score the images at some places, which come in the order of the groups.

        Args:
            places: the places.
            compared: what the outputs are compared with, (B, 3, H, W) uint8.
            known: what metrics know of these references already; it is filled. None if nobody else asks for it.
            aside: where they are scored.
        """
        while not self.outputs.keys() >= set(places):
            next(self._decoding)
        outputs = torch.stack([self.outputs[i] for i in places])
        texts = [self.shard.samples[self.kept[i]].text for i in places]

        def values() -> dict[str, np.ndarray]:
            with self.shard.timer.stage("per-image metrics"):
                return self.shard.scorer.values(compared, outputs, known, texts=texts)

        self._values.append(aside.begin(values))

    def end_group(self, group: list[int], references: list[np.ndarray]) -> None:
        """Collect the values of the images of one shape, and compute their features and the states of metrics.

        Args:
            group: their places.
            references: the photographs of all places.
        """
        parts, self._values = [future.result() for future in self._values], []
        found: Arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        scorer, timer = self.shard.scorer, self.shard.timer
        if scorer.states:
            with timer.stage("per-image metrics"):
                whole = torch.stack([self.outputs[i] for i in group])
                found |= scorer.states_of(compared_with(references, group, self.shard.run), whole)
        if scorer.features:
            with timer.stage("features"):
                described = [
                    scorer.describe(torch.stack([self.outputs[i] for i in group[batch]]))
                    for batch in batches(len(group), BATCH)
                ]
            found |= {name: np.concatenate([each[name] for each in described]) for name in described[0]}
        self._parts.append((group, found))

    def store(self, references: list[np.ndarray]) -> None:
        """Store the scores, and the pictures that are wanted."""
        arrays = joined(self._parts) if self._parts else {}
        self.shard.store_scores(
            references, self.kept, [self.outputs[i] for i in range(len(self.kept))], self.bits, arrays
        )
        self.outputs.clear()
        self._decoding.close()  # it and this object hold each other, with all of the shard's images


class Aside:
    """Scores images on a thread and a stream of its own on a GPU, while the network makes the next ones.

    On the CPU both would share the cores, so there each piece is scored at once. Use it in a `with` block.

    Args:
        device: where networks compute.
        always: whether a thread is used on the CPU too.
    """

    def __init__(self, device: str, always: bool = False):
        on_gpu = device.startswith("cuda")
        self._threads = ThreadPoolExecutor(1, "scoring") if on_gpu or always else None
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        self._exact = exact_float32()  # for as long as both work: the switch is one for all threads
        self._last: Future[Any] | None = None

    def __enter__(self) -> Self:
        if self._threads:
            self._exact.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
            self._exact.__exit__(None, None, None)

    def begin(self, work: Callable[[], dict[str, np.ndarray]]) -> Future[dict[str, np.ndarray]]:
        """Begin a piece of work, when the one before is done, so that no more than two pieces are in memory."""
        if self._threads is None:
            done: Future[dict[str, np.ndarray]] = Future()
            done.set_result(work())
            return done
        if self._last is not None:
            self._last.exception()  # wait; whoever began it is told of its error
        self._last = self._threads.submit(self._on_stream, work)
        return self._last

    def _on_stream(self, work: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        with torch.cuda.stream(self._stream) if self._stream else nullcontext():
            return work()


def compared_with(references: Sequence[np.ndarray], places: Sequence[int], run: Run) -> Tensor:
    """Return the pixels with which outputs are compared, (N, 3, H, W) uint8, of the references at N places."""
    stacked = stack([references[i] for i in places])
    if run.protocol.score.references == "exact":
        return stacked
    levels = images.to_uint8(torch.arange(256) / 255, run.protocol.score.rounding)
    return levels[stacked.int()]


def stack(references: Sequence[np.ndarray]) -> Tensor:
    """Return N prepared images of one shape, each (H, W, 3) uint8, as one tensor (N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(references)).permute(0, 3, 1, 2).contiguous()
