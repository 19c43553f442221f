"""What a metric is, and metrics by name: own files, entry points of group `lactok.metrics`, torchmetrics.

A metric is declared once, by a decorator over the function that computes it:

    @metric("psnr", title="PSNR", higher=True, digits=2)
    def psnr(references, outputs, device): ...

Everything else reads the declaration: the scorer, the tables, the reports, the plan of a run, the list of weights.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import UserError, WrongValue
from lactok.extras import missing_package
from lactok.plugins import Plugins
from lactok.specs import Asset

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])

TORCHMETRICS = "torchmetrics:"  # before the name of a class of torchmetrics.image
COLUMNS = frozenset({"id", "caption", "sha256", "bits", "near_ties", "index", "errors", "ids"})  # taken in records
_KEY = re.compile(r"[\w.-]+")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """What is fixed about a metric.

    Attributes:
        key: its name in `metrics`, in `result.json` and as a column of records.
        title: as tables write it.
        higher: whether higher is better.
        digits: after the point in tables.
        scale: tables show the value times this.
        unit: of the value, as axes of figures write it.
        networks: files of weights that it needs.
        default: whether it is measured where no metrics are named.
        cap: largest value that it can take; how many images reached it is counted.
        reliable_from: images from which on its value is comparable with published ones.
        flops_a_pixel: of comparing one pixel, for the plan of a run; 0 for those that are cheap.
        libraries: packages whose version may change its value.
        version: raised by hand when its arithmetic changes.
        own: whether it is one of this project's; of others a result says the direction.
    """

    key: str
    title: str
    higher: bool
    digits: int = 3
    scale: float = 1
    networks: tuple[Asset, ...] = ()
    default: bool = False
    cap: float | None = None
    reliable_from: int = 0
    flops_a_pixel: float = 0.0
    libraries: tuple[str, ...] = ()
    version: int = 1
    unit: str = ""
    own: bool = field(default=True, compare=False)

    @property
    def head(self) -> str:
        """As the head of a column: the title and the better direction."""
        return f"{self.title} {self.arrow}"

    @property
    def axis(self) -> str:
        """As the name of an axis: with its unit."""
        return f"{self.title} ({self.unit}) {self.arrow}" if self.unit else self.head

    @property
    def arrow(self) -> str:
        return "↑" if self.higher else "↓"

    @property
    def needs(self) -> tuple[Asset, ...]:
        """All files of weights that are needed to compute it."""
        return self.networks

    def hashed(self) -> dict[str, object]:
        """What of the declaration decides its values: versions, its own and of the libraries."""
        return {"version": self.version, "libraries": _versions(self.key, self.libraries)}


def _versions(key: str, libraries: Sequence[str]) -> dict[str, str]:
    """Versions of installed packages; raises WrongValue or MissingPackage for one that is not installed."""
    try:
        return {name: version(name) for name in libraries}
    except PackageNotFoundError as error:
        missing = missing_package(error.name, ("recon",), f"the metric {key}")
        raise missing or WrongValue(f"metric {key}: its library {error.name} is not installed") from error


@dataclass(frozen=True)
class ImageMetric(Metric):
    """A value an image; the metric is their mean.

    Attributes:
        compute: references and outputs, uint8 (B, 3, H, W) on the CPU, and the device on which networks compute ->
            (B,) float64.
    """

    compute: Callable[[Tensor, Tensor, str], Tensor] = field(kw_only=True)


@dataclass(frozen=True)
class Features:
    """Features of single images, stored for each and shared by the metrics that name them.

    Attributes:
        name: of the stored array.
        compute: uint8 images (B, 3, H, W) on the CPU, and the device -> (B, D) float32.
        flops: of one image.
    """

    name: str
    compute: Callable[[Tensor, str], np.ndarray] = field(compare=False)
    networks: tuple[Asset, ...] = ()
    libraries: tuple[str, ...] = ()
    flops: float = 0.0


@dataclass(frozen=True)
class DistanceMetric(Metric):
    """A distance between the set of references and the set of outputs, from features of their images.

    Attributes:
        compute: the features of references and of outputs, each a sequence of blocks (n, D) that can be walked
            through more than once -> the distance; called with two images or more.
    """

    compute: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], float] = field(kw_only=True)
    features: Features = field(kw_only=True)

    @property
    def needs(self) -> tuple[Asset, ...]:
        return (*self.networks, *self.features.networks)

    def hashed(self) -> dict[str, object]:
        libraries = (*self.libraries, *self.features.libraries)
        return {"version": self.version, "libraries": _versions(self.key, libraries)}


@dataclass(frozen=True)
class StateMetric(Metric):
    """A value of all pairs or sets, from a state that grows shard by shard.

    Attributes:
        state: references and outputs of a shard, uint8 (N, 3, H, W) on the CPU, and the device -> arrays by name.
        merge: the states of all shards, in order -> the value.
    """

    state: Callable[[Tensor, Tensor, str], Mapping[str, np.ndarray]] = field(kw_only=True)
    merge: Callable[[Sequence[Mapping[str, np.ndarray]]], float] = field(kw_only=True)


class Metrics(Plugins[Metric]):
    """All metrics of pairs and sets of images."""

    def __init__(self) -> None:
        super().__init__("metric", "metric", "lactok.metrics", lambda: ("lactok.metrics",))

    def get(self, name: str) -> Metric:
        """A metric by key; `torchmetrics:CLASS[@option=value,...]` is a class of torchmetrics.image.

        Raises:
            UserError: unknown, or a plug-in that cannot be imported or is no metric.
        """
        if name.startswith(TORCHMETRICS) and name not in self.registered:
            from lactok.metrics.of_torchmetrics import by_name

            return by_name(name)
        return super().get(name)

    def maker(self, entry: Metric) -> Any:
        return getattr(entry, "compute", entry)

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """A torchmetrics class as a plug-in; everything else registers itself by the decorator."""
        if isinstance(loaded, type) and any(base.__module__.startswith("torchmetrics.") for base in loaded.__mro__):
            from lactok.metrics.of_torchmetrics import adapted

            package = "" if point.dist is None else point.dist.name
            self.add(name, adapted(name, loaded, {}, "" if package == "torchmetrics" else package))
            return
        super().adopt(name, point, loaded)


METRICS = Metrics()


def metric(
    key: str, *, title: str, higher: bool, features: Features | None = None, listed: bool = True, **declared: Any
) -> Callable[[F], F]:
    """Declare the metric that a function computes.

    Args:
        key: its name: letters, digits, `_`, `.` and `-`. It stands in the decorator as a text, since it is read from
            there before the module is imported.
        title: as tables write it.
        higher: whether higher is better.
        features: for a distance between sets, of which features; the function is then `DistanceMetric.compute`, else
            `ImageMetric.compute`.
        listed: False for one that is no metric of reconstructions: it is found by its key and is not among `all`.
        declared: the other attributes of `Metric`.

    Returns:
        The decorator; the function stays as it is.

    Raises:
        WrongValue: another function has the key already, or it is not one that a result can hold.

    >>> import torch
    >>> @metric("worst_pixel", title="worst pixel", higher=False)
    ... def worst_pixel(references, outputs, device="cpu"):
    ...     return (references.double() - outputs.double()).abs().amax((1, 2, 3))
    >>> find("worst_pixel").head
    'worst pixel ↓'
    >>> _ = METRICS.registered.pop("worst_pixel")  # as if it had never been
    """

    def add(function: F) -> F:
        if _KEY.fullmatch(key) is None or key in COLUMNS:
            raise WrongValue(f"a metric cannot be named {key!r}: letters, digits, _ . - and none of {sorted(COLUMNS)}")
        own = function.__module__.startswith(f"{__package__}.")
        common: dict[str, Any] = {"key": key, "title": title, "higher": higher, "own": own, **declared}
        try:
            if features is None:
                METRICS.add(key, ImageMetric(compute=function, **common))
            else:
                METRICS.add(key, DistanceMetric(compute=function, features=features, **common))
        except TypeError:
            unknown = sorted(declared.keys() - Metric.__dataclass_fields__.keys())
            raise WrongValue(f"metric {key}: a metric declares no {', '.join(unknown)}") from None
        return function

    return add


def find(key: str) -> Metric:
    """A metric by its key; see `Metrics.get`."""
    return METRICS.get(key)


def known() -> list[Metric]:
    """All metrics that can be told, in the order of columns; a broken plug-in is left out, which is logged."""
    found = []
    for key in METRICS.names():
        try:
            found.append(METRICS.get(key))
        except UserError as error:
            _say_left_out(str(error))
    return found


@lru_cache(maxsize=64)
def _say_left_out(why: str) -> None:
    """Once a process."""
    logger.warning("left out: %s", why)


def default_keys() -> tuple[str, ...]:
    """What is measured where no metrics are named: of this project's own, so that a plug-in changes no protocol."""
    return tuple(key for key in METRICS.own() if METRICS.get(key).default)


def described(key: str, entry: Mapping[str, Any] | None = None) -> Metric:
    """The declaration of a stored metric; of one that is not installed here, what its result says.

    A class of torchmetrics is not made to be described: that can mean a network of gigabytes.

    Args:
        entry: of the metric in `result.json`.
    """
    try:
        if key in METRICS.registered or not key.startswith(TORCHMETRICS):
            return find(key)
    except UserError:
        pass
    stored, plain = entry or {}, key.removeprefix(TORCHMETRICS)
    return Metric(key, str(stored.get("title") or plain), stored.get("higher_is_better") is not False, own=False)


def sorted_keys(keys: Sequence[str]) -> list[str]:
    """Keys in the order of columns; those of others behind this project's, in theirs."""
    order = {key: i for i, key in enumerate(METRICS.names())}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def chosen(text: str | Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The metrics that an argument asks for, in the order of columns.

    Args:
        text: "default", "all", keys separated by commas or spaces, or a list of keys.
        default: what "default" means.

    Raises:
        UnknownName, WrongValue: an unknown metric, or none.
    """
    if text == "default":
        return tuple(default)
    if text == "all":
        return tuple(m.key for m in known())
    named = split(text) if isinstance(text, str) else list(dict.fromkeys(text))
    for key in named:
        find(key)
    if not named:
        raise WrongValue("`metrics` is empty; name some, or use default or all")
    return tuple(sorted_keys(named))


def split(text: str) -> list[str]:
    """Keys separated by commas or spaces; a comma between options (`a@x=1,y=2`) belongs to the key."""
    keys: list[str] = []
    for part in text.replace(" ", ",").split(","):
        if keys and "=" in part and "@" not in part:
            keys[-1] += f",{part}"
        elif part:
            keys.append(part)
    return list(dict.fromkeys(keys))


def assets() -> dict[str, tuple[Asset, ...]]:
    """For the list of weights: all that metrics need."""
    return {"metrics": tuple(dict.fromkeys(asset for m in known() for asset in m.needs))}
