"""The settings that commands and `lactok.evaluate` share.

`Settings` hold them as a user gives them. They are split in two: `Run` is what determines the numbers, `Execution`
what does not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from lactok.device import check_device_name, device_name
from lactok.errors import LARGEST, WrongValue, at_least, check_output_folder, integer, whole
from lactok.evaluation.cluster import Cluster, check_cluster, resources_of, show_token
from lactok.evaluation.launchers import AUTO, device_here, place
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.protocol import Protocol

logger = logging.getLogger(__name__)

DType = Literal["float32", "bfloat16", "float16"]

# the ranges of the settings that are whole numbers; protocols have their own for `resolution`
RANGES = {
    "batch_size": (1, 65536),
    "workers": (1, 1024),
    "threads": (0, 1024),
    "limit": (1, LARGEST),
    "seed": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class Run:
    """The settings that determine the numbers, the same for all sources of one evaluation.

    Attributes:
        protocol: how images are prepared and scored.
        device: where networks compute, "cpu" or "cuda:1", for example.
        dtype: the compute dtype of what is evaluated; metrics and judges compute in float32.
        seed: the seed from which the seed of each image is derived.
        batch_size: the number of images that a GPU computes at a time.
        threads: the number of threads of each process; 0, as many as torch chooses here, becomes that number.
        networks: the names and digests (sha256) of the weights that the metrics need.
    """

    protocol: Protocol
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    batch_size: int = 8
    threads: int = 0
    networks: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Settle the number of threads, so that it is the same in worker processes and can stand in keys."""
        if not self.threads:
            import torch

            object.__setattr__(self, "threads", torch.get_num_threads())

    @property
    def micro_batch(self) -> int:
        """The number of images that a network gets at a time.

        That is `batch_size`, but 1 on the CPU, where one by one is faster and the batch size would change the results'
        last bits.
        """
        return 1 if self.device_kind == "cpu" else self.batch_size

    @property
    def device_kind(self) -> str:
        """The device without its number: "cpu", "cuda" or "mps"."""
        return self.device.partition(":")[0]

    def place(self, networks: bool, batched: bool = True) -> str | dict[str, str | int]:
        """Return what of the machine decides the last bits of what is computed, for keys of the store.

        Args:
            networks: whether a network computes. On the CPU its sums depend on the number of threads; what reference
                rows and metrics without a network compute does not.
            batched: whether it gets `micro_batch` images at a time, on which a GPU's sums depend, or a fixed number.
        """
        if self.device_kind == "cpu":
            return {"device": "cpu", "threads": self.threads} if networks else "cpu"
        found: dict[str, str | int] = {"device": device_name(self.device), "torch": version("torch")}
        return found | {"micro_batch": self.micro_batch} if batched else found

    @property
    def scores_key(self) -> str:
        """The hash of `scoring_key` and of what of the machine decides the last bits of scores and features."""
        from lactok.evaluation.protocol import digest
        from lactok.metrics.registry import find

        others = any(not find(key).own for key in self.protocol.score.metrics)  # which may have networks of their own
        place = self.place(bool(self.networks) or others, batched=False)
        return self.scoring_key if place == "cpu" else digest([self.scoring_key, place])

    @property
    def scoring_key(self) -> str:
        """The hash of all that decides how two images become numbers.

        That is the protocol's `Score`, the metrics' networks, the kind of device and the image library's version.
        """
        from lactok.evaluation.protocol import digest

        return digest([self.protocol.score_hash, self.networks, self.device_kind, version("pillow")])

    def seeds(self, samples: Sequence[Sample]) -> Tensor:
        """Return the seeds of samples, (B,) int64: each is a hash of the run's seed and the sample's id."""
        import torch

        return torch.tensor([seed_of(self.seed, s.id) for s in samples], dtype=torch.int64)


@dataclass(frozen=True)
class Execution:
    """The settings that do not determine the numbers: how the work is done and where the results go.

    Attributes:
        out: the folder of results and of the store.
        workers: the number of processes.
        part: (I, N): this process does every N-th shard, from the I-th (counted from 0) on.
        pictures: the number of samples whose reconstructions are kept besides the best and the worst; None for all.
        limit: the limit that the user gave, which is part of the result folder's name.
        cluster: the Ray cluster that does the work, None for worker processes of this machine.
    """

    out: Path = Path("runs")
    workers: int = 1
    part: tuple[int, int] = (0, 1)
    pictures: int | None = 6
    limit: int | None = None
    cluster: Cluster | None = None


@dataclass(frozen=True)
class Settings:
    """The options that suites share, as a user gives them; each has one meaning and one default everywhere.

    Attributes:
        dataset: sample, imagenet, coco, mjhq, flux5k, a folder, or a text file that lists images.
        protocol: square-256, or another of `lactok.evaluation.protocol.protocols`; docs/protocols.md describes them.
        resolution: the side of the reference images in pixels, instead of the protocol's; it changes the hash.
        metrics: "default", "all", or keys of metrics (separated by commas, or a list).
        limit: use this many samples, a fixed random choice.
        pictures: keep the images of this many samples, a fixed random choice, besides the best and the worst; or "all".
        out: the folder of results and of the store.
        device: cpu, cuda, cuda:1 or mps; with `part` auto, cuda is the GPU of this process, see `launchers`.
        dtype: the compute dtype of what is evaluated; metrics and judges compute in float32.
        batch_size: the number of images that a GPU computes at a time; the CPU takes one by one.
        workers: the number of processes, each with its own copy of the network; 1 if not given. On a Ray cluster it is
            the largest number, and if it is not given there are as many as the cluster has room for.
        threads: the number of threads of each process, 0 for as many as torch chooses; on the CPU another number may
            change the last bits of what networks compute.
        part: "I/N": do only every N-th shard, from the I-th on; the part that ends last writes the result. "auto" takes
            I and N from what torchrun and SLURM tell, see `launchers`.
        engine: "local", worker processes of this machine, or "ray", those of a Ray cluster.
        ray_address: HOST:PORT of a cluster's head, or "auto"; see `Cluster`.
        ray_resources: what a task takes of the cluster, as in "gpu=0.5,cpu=4"; see `Cluster.for_task`.
        seed: the seed of the run; an image's seed is hash(seed, its id).
        weights: a folder with weights, which is looked into before every other source.
        fast: let the networks of LPIPS and of Inception's features compute in bfloat16; the result says how much that
            changes, and is marked in tables.
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
    workers: int | None = None
    threads: int = 0
    part: str | None = None
    engine: str = "local"
    ray_address: str | None = None
    ray_resources: str | None = None
    seed: int = 0
    weights: str | os.PathLike[str] | None = None
    fast: bool = False

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Take the settings out of a command's arguments (name -> value), which may hold others too."""
        return cls(**{f.name: arguments[f.name] for f in fields(cls) if f.name in arguments})

    def __post_init__(self) -> None:
        """Keep devices and dtypes of torch, paths and numpy's integers, which users may give, as texts and integers."""
        for name in ("resolution", "limit", "pictures", "batch_size", "workers", "threads", "seed"):
            value = getattr(self, name)
            if hasattr(value, "__index__") and not isinstance(value, bool):
                object.__setattr__(self, name, int(value))
        object.__setattr__(self, "device", str(self.device))
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        if isinstance(self.dataset, os.PathLike):
            # with a slash, so that a folder named "coco" is not taken for the data set of that name
            object.__setattr__(self, "dataset", os.path.join(".", self.dataset))
        if self.part == AUTO:
            object.__setattr__(self, "device", device_here(self.device))

    def check(self) -> None:
        """Raise WrongValue for anything that is wrong in itself; nothing is imported, opened or computed.

        Raises:
            DiskError: `out` cannot be written to.
        """
        for argument in ("dataset", "protocol", "part"):
            value = getattr(self, argument)
            if not isinstance(value, str) and not (argument == "part" and value is None):
                raise WrongValue(f"`{argument}` {value!r}: a text")
        for argument in ("out", "weights"):
            value = getattr(self, argument)
            if not isinstance(value, str | os.PathLike) and not (argument == "weights" and value is None):
                raise WrongValue(f"`{argument}` {value!r}: a text or a path")
        for argument in ("dataset", "protocol", "out", "weights", "part"):
            if getattr(self, argument) == "":
                raise WrongValue(f"`{argument}` is empty; leave it out for the default")
        if not isinstance(self.metrics, str) and not (
            isinstance(self.metrics, Collection) and all(isinstance(key, str) for key in self.metrics)
        ):
            raise WrongValue(f"`metrics` {self.metrics!r}: default, all, keys separated by commas, or a list of keys")
        for argument, (least, most) in RANGES.items():
            value = getattr(self, argument)
            if value is None and argument not in ("limit", "workers"):
                raise WrongValue(f"`{argument}` None: {least} or more")
            at_least(argument, value, least, most)
        if not isinstance(self.fast, bool):
            raise WrongValue(f"`fast` {self.fast!r}: True or False")
        if self.dtype not in get_args(DType):
            raise WrongValue(f"`dtype` {self.dtype}: one of {', '.join(get_args(DType))}")
        check_device_name(self.device)
        check_cluster(self.engine, self.ray_address, self.ray_resources, self.device)
        part_of(self.part)
        pictures_of(self.pictures)
        check_output_folder("out", self.out)

    def check_names(self) -> Protocol:
        """Return the protocol, after the names of the data set, the protocol and the metrics were checked.

        Nothing of a data set is read, and torch is not imported, so that a mistake is answered at once.

        Raises:
            UnknownName: there is no such data set, protocol or metric.
            MissingFile: there is no such folder or file of images.
            WrongValue: the resolution does not go with the protocol or the metrics.
        """
        from lactok.evaluation import datasets
        from lactok.evaluation import protocol as protocols

        found = protocols.get(self.protocol, self.resolution, self.metrics)
        datasets.check_name(self.dataset)
        return found

    def use_machine(self) -> None:
        """Look for weights in the given folder first, and check that the device is there, and Ray if it is asked for.

        With `part` auto a line in the log says which part this is.

        Raises:
            MissingFile: there is no such folder of weights.
            WrongValue: this machine has no such device.
            ModuleNotFoundError: Ray is not installed.
        """
        from lactok import weights
        from lactok.device import check_device

        if self.engine == "ray":
            show_token(self.ray_address)
            import ray  # noqa: F401
        if self.part == AUTO:
            own = place()
            logger.info("part %d/%d, from %s", own.index + 1, own.count, own.found)

        if self.weights:
            weights.use_folder(self.weights)
        check_device(self.device)

    def execution(self) -> Execution:
        """Return the settings that do not determine the numbers."""
        cluster = None
        if self.engine == "ray":
            resources = resources_of(self.ray_resources) if self.ray_resources else ()
            cluster = Cluster(self.ray_address, resources, self.workers)
        part, pictures = part_of(self.part), pictures_of(self.pictures)
        return Execution(Path(self.out), self.workers or 1, part, pictures, self.limit, cluster)

    def run(self, protocol: Protocol | None = None) -> Run:
        """Return the settings that determine the numbers; `networks` is still empty.

        Args:
            protocol: a protocol to use instead of the one that the settings name.
        """
        from lactok.evaluation import protocol as protocols

        found = protocol or protocols.get(self.protocol, self.resolution, self.metrics)
        if self.fast:
            found = replace(found, score=replace(found.score, fast=True))
        return Run(found, self.device, self.dtype, self.seed, self.batch_size, self.threads)

    def data(self) -> Dataset:
        """Return the data set, limited to `limit` samples."""
        from lactok.evaluation import datasets

        return datasets.get(self.dataset, limit=self.limit)


def part_of(text: str | None) -> tuple[int, int]:
    """Return (I - 1, N) for "I/N", which means every N-th shard from the I-th on; (0, 1), all shards, for None.

    For "auto" torchrun or SLURM says which part this process is, see `launchers`.

    >>> part_of("2/4"), part_of(None)
    ((1, 4), (0, 1))
    """
    if text is None:
        return 0, 1
    if text == AUTO:
        own = place()
        return own.index, own.count
    first, _, second = text.partition("/")
    try:
        part, parts = integer(first), integer(second)
    except ValueError:
        part = parts = 0
    if not 1 <= part <= parts <= 10**6:
        raise WrongValue(f"`part` {text[:40]}: write I/N with 1 <= I <= N, as in 2/4, or auto")
    return part - 1, parts


def pictures_of(given: int | str) -> int | None:
    """Return the number of samples whose pictures are kept, None for "all".

    >>> pictures_of("6"), pictures_of("all")
    (6, None)
    """
    if given == "all":
        return None
    try:
        return whole("pictures", integer(given) if isinstance(given, str) else given, 0)
    except ValueError:
        raise WrongValue(f"`pictures` {str(given)[:40]}: write a number, 0 or more, or all") from None


def split_names(text: str, argument: str = "tokenizers", more: str = "") -> list[str]:
    """Split names at spaces and commas; a comma inside options (`a@x=1,y=2`) belongs to the name.

    Args:
        text: the names.
        argument: the argument that holds them, for the message.
        more: the message's end, which says what else the user can do where there is no name.

    Raises:
        WrongValue: there is no name in the text.

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
