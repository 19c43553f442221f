"""What an evaluation is told: the settings that commands and `lactok.evaluate` share, and what they come to.

`Settings` are as a user gives them; `Run` is what determines numbers, `Execution` what does not.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from lactok.errors import WrongValue, at_least
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.protocol import Protocol

DType = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Run:
    """What determines the numbers, the same for all sources of one evaluation.

    Attributes:
        threads: 0 for as many as torch chooses.
        networks: name and sha256 of the files that the metrics need.
    """

    protocol: Protocol
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    batch_size: int = 8
    threads: int = 0
    networks: tuple[tuple[str, str], ...] = ()

    @property
    def micro_batch(self) -> int:
        """Images at a time: `batch_size`, but one by one on the CPU, where that is faster and batches change bits."""
        return 1 if self.device_kind == "cpu" else self.batch_size

    @property
    def device_kind(self) -> str:
        return self.device.partition(":")[0]

    @property
    def scoring_key(self) -> str:
        """Hash of all that turns two images into numbers: score, networks, device kind, the image library."""
        from lactok.evaluation.protocol import digest

        return digest([self.protocol.score_hash, self.networks, self.device_kind, version("pillow")])

    def seeds(self, samples: Sequence[Sample]) -> Tensor:
        """(B,) int64, one a sample: hash(seed of the run, its id)."""
        import torch

        return torch.tensor([seed_of(self.seed, s.id) for s in samples], dtype=torch.int64)


@dataclass(frozen=True)
class Execution:
    """How the work is done and where it goes; the numbers do not depend on it.

    Attributes:
        part: I, N: only every N-th shard, from the I-th (counted from 0) on.
        pictures: how many samples' reconstructions are kept besides the best and the worst; None for all.
        limit: as asked for, part of a folder's name.
    """

    out: Path = Path("runs")
    workers: int = 1
    part: tuple[int, int] = (0, 1)
    pictures: int | None = 6
    limit: int | None = None


@dataclass(frozen=True)
class Settings:
    """The options that suites share, each with one meaning and one default.

    Attributes:
        dataset: sample, imagenet, coco, mjhq, flux5k, a folder, or a text file that lists images.
        protocol: square-256, paper-1024, llamagen-256 or titok-256.
        resolution: in pixels, instead of the protocol's; changes its hash.
        metrics: "default", "all", or keys (separated by commas, or a list).
        limit: use this many samples, a fixed random choice.
        pictures: keep the images of this many samples, a fixed random choice, besides the best and the worst; or "all".
        out: folder of results and of the store.
        device: cpu, cuda, cuda:1, mps.
        dtype: compute dtype of what is evaluated; metrics and judges compute in float32.
        batch_size: images at a time on a GPU; the CPU takes one by one.
        workers: processes, each with its own copy of the network.
        threads: threads a process; 0 for as many as torch chooses.
        part: "I/N": do only every N-th shard, from the I-th on; the last part to end merges.
        seed: of the run; an image's seed is hash(seed, its id).
        weights: folder with weights, looked into before every other source.
    """

    dataset: str = "sample"
    protocol: str = "square-256"
    resolution: int | None = None
    metrics: str | Sequence[str] = "default"
    limit: int | None = None
    pictures: int | str = 6
    out: str | os.PathLike[str] = "runs"
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 8
    workers: int = 1
    threads: int = 0
    part: str | None = None
    seed: int = 0
    weights: str | os.PathLike[str] | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """From a command's arguments by name; those that are no setting are left to the command."""
        return cls(**{f.name: arguments[f.name] for f in fields(cls) if f.name in arguments})

    def __post_init__(self) -> None:
        """Paths, devices, dtypes and numpy's numbers may be given as such; they are kept as texts and integers."""
        for name in ("resolution", "limit", "pictures", "batch_size", "workers", "threads", "seed"):
            value = getattr(self, name)
            if hasattr(value, "__index__") and not isinstance(value, bool):
                object.__setattr__(self, name, int(value))
        object.__setattr__(self, "device", str(self.device))
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        if isinstance(self.dataset, os.PathLike):
            object.__setattr__(self, "dataset", os.path.join(".", self.dataset))  # a folder, whatever its name

    def check(self) -> None:
        """Raise WrongValue for anything that is wrong in itself; nothing is imported, opened or computed."""
        for argument in ("dataset", "protocol", "out", "weights", "part"):
            value = getattr(self, argument)
            path, optional = argument in ("out", "weights"), argument in ("weights", "part")
            if not isinstance(value, str | os.PathLike if path else str) and not (optional and value is None):
                raise WrongValue(f"`{argument}` {value!r}: a text{' or a path' * path}")
            if value == "":
                raise WrongValue(f"`{argument}` is empty; leave it out for the default")
        if not isinstance(self.metrics, str) and not (
            isinstance(self.metrics, Collection) and all(isinstance(key, str) for key in self.metrics)
        ):
            raise WrongValue(f"`metrics` {self.metrics!r}: default, all, keys separated by commas, or a list of keys")
        for argument, least in (("batch_size", 1), ("workers", 1), ("threads", 0), ("limit", 1)):
            if (value := getattr(self, argument)) is None and argument != "limit":
                raise WrongValue(f"`{argument}` None: {least} or more")
            at_least(argument, value, least)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise WrongValue(f"`seed` {self.seed!r}: a whole number")
        if self.dtype not in get_args(DType):
            raise WrongValue(f"`dtype` {self.dtype}: one of {', '.join(get_args(DType))}")
        part_of(self.part)
        pictures_of(self.pictures)

    def use_machine(self) -> None:
        """Look into the folder of weights first, and make sure of the device."""
        from lactok import weights
        from lactok.device import check_device

        if self.weights:
            weights.use_folder(self.weights)
        check_device(self.device)

    def execution(self) -> Execution:
        return Execution(Path(self.out), self.workers, part_of(self.part), pictures_of(self.pictures), self.limit)

    def run(self, protocol: Protocol | None = None) -> Run:
        """What determines the numbers; the metrics' networks are not named yet.

        Args:
            protocol: instead of the one that is named.
        """
        from lactok.evaluation import protocol as protocols

        found = protocol or protocols.get(self.protocol, self.resolution, self.metrics)
        return Run(found, self.device, self.dtype, self.seed, self.batch_size, self.threads)

    def data(self) -> Dataset:
        """The data set, with its limit."""
        from lactok.evaluation import datasets

        return datasets.get(self.dataset).limited(self.limit)


def part_of(text: str | None) -> tuple[int, int]:
    """Which shards "I/N" means: every N-th from the I-th on, counted from 0.

    >>> part_of("2/4"), part_of(None)
    ((1, 4), (0, 1))
    """
    if text is None:
        return 0, 1
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise WrongValue(f"`part` {text}: write I/N with 1 <= I <= N, as in 2/4")
    return int(first) - 1, int(second)


def pictures_of(given: int | str) -> int | None:
    """A number of samples, None for "all".

    >>> pictures_of("6"), pictures_of("all")
    (6, None)
    """
    text = str(given)
    if text == "all":
        return None
    if not text.isdecimal():
        raise WrongValue(f"`pictures` {text}: write a number, 0 or more, or all")
    return int(text)


def split_names(text: str, argument: str = "tokenizers", more: str = "") -> list[str]:
    """Names separated by spaces or commas; a comma inside options (`a@x=1,y=2`) belongs to the name.

    Args:
        argument: which says them.
        more: what else can be done where there is no name.

    Raises:
        WrongValue: there is no name.

    >>> split_names("jpeg@bits=3584, flextok-tiny@tokens=4,steps=2 identity")
    ['jpeg@bits=3584', 'flextok-tiny@tokens=4,steps=2', 'identity']
    """
    names: list[str] = []
    for word in text.split():
        for part in word.split(","):
            if names and "=" in part and "@" not in part:
                names[-1] += f",{part}"
            elif part:
                names.append(part)
    if not names:
        raise WrongValue(f"`{argument}` is empty; name some{more}")
    return list(dict.fromkeys(names))
