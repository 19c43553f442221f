"""Where pictures come from: a generator of classes, a folder, or an .npz file; all give them as uint8 of one size."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gfid.arrays import PictureArray
from lactok import images, registry
from lactok.evaluation import generated
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.images import Prepare, Rounding
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from lactok.tokenizer import Generator

Pixels = dict[int, np.ndarray]  # a picture (side, side, 3) uint8 by its position in the shard
KIND = "generated"  # of the store's files of pictures


class Pictures(ABC):
    """A set of pictures. It is sent to worker processes.

    Attributes:
        name: what the row is called.
        dataset: the pictures as samples, whose shards the engine hands out.
        side: of the pictures in pixels.
    """

    name: str
    dataset: Dataset
    side: int

    @abstractmethod
    def key(self, samples: Sequence[Sample]) -> str:
        """Return the hash of all that decides the pixels of a shard."""

    @abstractmethod
    def read(self, samples: Sequence[Sample]) -> tuple[Pixels, dict[int, str]]:
        """Return the pictures of a shard that is made, and why others cannot be read, by their positions."""

    def is_made(self, samples: Sequence[Sample]) -> bool:
        """Return whether the pictures of a shard are there; those of files are."""
        return True

    def make(self, samples: Sequence[Sample], timer: Timer) -> None:
        """Make the pictures of a shard that is not made yet."""
        raise NotImplementedError(f"{self.name} makes no pictures")


@dataclass(frozen=True, eq=False)
class FolderPictures(Pictures):
    """Images in files, each brought to one size as ADM brings its training images there.

    Attributes:
        name, dataset, side: as of `Pictures`.
    """

    name: str
    dataset: Dataset
    side: int

    @property
    def how(self) -> Prepare:
        """How they are prepared; an image of the size stays as it is."""
        return prepared_to(self.side)

    def key(self, samples: Sequence[Sample]) -> str:
        return digest([self.how.settings(), version("pillow"), [sample.sha256 for sample in samples]])

    def read(self, samples: Sequence[Sample]) -> tuple[Pixels, dict[int, str]]:
        found: Pixels = {}
        errors: dict[int, str] = {}
        for i, sample in enumerate(samples):
            try:
                found[i] = images.prepare(sample.open(self.how.upright), self.how)
            except images.UnreadableImage as error:
                errors[i] = str(error)
        return found, errors


def prepared_to(side: int) -> Prepare:
    """Return how photographs of any shape become pictures of a side: the crop of ADM's training images."""
    return Prepare(side, "adm", upright=False)


@dataclass(frozen=True, eq=False)
class ArrayPictures(Pictures):
    """The pictures of an .npz file, as they are.

    Attributes:
        name, dataset: as of `Pictures`; a sample's id is the picture's number.
        array: the pictures.
    """

    name: str
    dataset: Dataset
    array: PictureArray

    @property
    def side(self) -> int:  # type: ignore[override]
        return self.array.shape[1]

    def key(self, samples: Sequence[Sample]) -> str:
        return digest([self.array.sha256, [sample.id for sample in samples]])

    def read(self, samples: Sequence[Sample]) -> tuple[Pixels, dict[int, str]]:
        return dict(enumerate(self.array.rows([int(sample.id) for sample in samples]))), {}


def array_samples(array: PictureArray) -> tuple[Sample, ...]:
    """Return the pictures of an array as samples."""
    return tuple(Sample(f"{number:08}", array.path) for number in range(len(array)))


@dataclass(frozen=True, eq=False)
class GeneratedPictures(Pictures):
    """Pictures of ImageNet classes that a generator makes; they are kept in the store, shard by shard, as PNG.

    The number of a picture decides its class and, with the seed of the run, its noise.

    Attributes:
        name: the generator's canonical name.
        asked: the generator as the user wrote it.
        dataset: the pictures; a sample's id is the picture's number, its caption the class.
        side: of the pictures in pixels.
        settings: all that the generator's pictures depend on, see `registry.generator_settings`.
        run: seed, device, dtype and batch size.
        rounding: how values become uint8.
        store: where finished shards are kept.
        _loaded: the generator once it is loaded, else empty.
    """

    name: str
    asked: str
    dataset: Dataset
    side: int
    settings: dict[str, Any]
    run: Run
    rounding: Rounding
    store: Store
    _loaded: list[Generator] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}  # each worker process loads its own generator

    def key(self, samples: Sequence[Sample]) -> str:
        pictures = [[sample.caption, self.seed(sample)] for sample in samples]
        return digest([self.settings, self.run.dtype, self.rounding, self.run.place(True), pictures])

    def seed(self, sample: Sample) -> int:
        """Return a picture's seed: a hash of the run's seed and the picture's number."""
        return seed_of(self.run.seed, "gfid", int(sample.id))

    def is_made(self, samples: Sequence[Sample]) -> bool:
        return self.store.has(KIND, self.key(samples), ["ends"], partial_check(len(samples)))

    def make(self, samples: Sequence[Sample], timer: Timer) -> None:
        import torch

        if not self._loaded:
            self._loaded.append(registry.load_generator(self.asked, self.run.device, getattr(torch, self.run.dtype)))
        files: list[bytes] = []
        labels = [int(sample.caption or 0) for sample in samples]
        seeds = [self.seed(sample) for sample in samples]
        for _, made in generated.made(self._loaded[0], labels, seeds, self.run, timer):
            files += [images.png(picture) for picture in images.to_uint8(made, self.rounding).cpu()]
        arrays: Arrays = {
            "png": np.frombuffer(b"".join(files), np.uint8),
            "ends": np.cumsum([len(file) for file in files]).astype(np.int64),
        }
        self.store.put(KIND, self.key(samples), arrays)

    def files(self, samples: Sequence[Sample]) -> list[bytes]:
        """Return the PNG files of a shard's pictures, in their order; raise LostShard if the shard is not there."""
        stored = self.store.need(KIND, self.key(samples), check=partial_check(len(samples)))
        starts = [0, *stored["ends"][:-1].tolist()]
        ends = stored["ends"].tolist()
        return [stored["png"][start:end].tobytes() for start, end in zip(starts, ends, strict=True)]

    def read(self, samples: Sequence[Sample]) -> tuple[Pixels, dict[int, str]]:
        found: Pixels = {}
        for i, file in enumerate(self.files(samples)):
            found[i] = np.asarray(images.open_photograph(io.BytesIO(file)))
        return found, {}


def partial_check(count: int) -> Any:
    """Return what says whether a file of the store holds so many pictures; `png` is looked at where it was read."""

    def check(arrays: Arrays, names: Collection[str]) -> None:
        ends = arrays["ends"]
        if "png" not in names or ends.shape != (count,) or ends.dtype != np.int64 or (np.diff(ends) <= 0).any():
            raise ValueError("other pictures")
        if "png" in arrays and (arrays["png"].dtype != np.uint8 or arrays["png"].shape != (ends[-1],)):
            raise ValueError("pictures of another length")

    return check


def numbered(labels: Sequence[int], samples: int) -> tuple[Sample, ...]:
    """Return the pictures that a generator makes: round after round, in each round one of each label, in their order.

    So picture i is of label i mod len(labels), and any thousand in a row have as many labels as there are.

    Args:
        labels: the classes.
        samples: number of rounds.
    """
    every = range(samples * len(labels))
    return tuple(Sample(f"{i:08}", Path(f"{i:08}"), str(labels[i % len(labels)])) for i in every)


def pixel_sha256(picture: np.ndarray) -> str:
    """Return the hash of a picture's pixels (H, W, 3) uint8, the same wherever it lies."""
    height, width, _ = picture.shape
    return hashlib.sha256(f"{height}x{width} ".encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()
