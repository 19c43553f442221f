"""Define what a metric is and find metrics by name: in this package, in plug-ins and in torchmetrics.

Plug-ins are entry points of the group `lactok.metrics`.

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
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lactok.errors import UserError, WrongValue
from lactok.extras import missing_package
from lactok.plugins import Plugins
from lactok.specs import Asset

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lactok.metrics.grouped import Grouping, LeaveOut

F = TypeVar("F", bound=Callable[..., Any])

TORCHMETRICS = "torchmetrics:"  # the prefix of keys that name a class of torchmetrics.image
PYIQA = "pyiqa-"  # the prefix of keys that name a metric of the library pyiqa
# columns that records have already, so that no metric can be named so
COLUMNS = frozenset({"id", "caption", "sha256", "bits", "near_ties", "index", "errors", "ids"})
_KEY = re.compile(r"[\w.-]+")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """The declaration of a metric; the subclasses add the functions that compute it.

    Attributes:
        key: the name in `--metrics`, in `result.json` and as a column of records.
        title: the name that tables and figures show.
        higher: whether higher is better.
        digits: number of decimal places in tables.
        scale: factor by which tables multiply the value.
        networks: the weight files of the networks that the metric runs.
        default: whether the metric is computed when the user names no metrics.
        cap: the largest value that the metric can take, if there is one; a result counts the images that reach it.
        reliable_from: number of images from which on the value is comparable with published ones.
        flops_a_pixel: floating-point operations per pixel of one pair of images, by which the cost of a run is
            estimated; 0 where they do not matter.
        libraries: installed packages whose version may change the value.
        version: number that is raised by hand whenever the arithmetic changes.
        partial: whether an image without a value, nan, is only none of those that the metric looks at, as a photograph
            without a face: such images are left out of the mean, and their number is told.
        unit: unit of the value, shown on the axes of figures.
        fewest: number of images below which the metric has no value.
        smallest: pixels of an image's shorter side below which the metric is not defined.
        check: called before a run; raises a UserError where the metric cannot be computed, for other reasons than that
            one of `networks` is missing.
        own: whether the metric belongs to this package; for any other, a result also stores whether higher is better.
        listed: whether `--metrics all` computes it.
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
    partial: bool = False
    unit: str = ""
    fewest: int = 1
    smallest: int = 1
    check: Callable[[], None] | None = field(default=None, compare=False)
    own: bool = field(default=True, compare=False)
    listed: bool = field(default=True, compare=False)

    @property
    def head(self) -> str:
        """The head of a table's column: the title and an arrow that points in the better direction."""
        return f"{self.title} {self.arrow}"

    @property
    def axis(self) -> str:
        """The label of a figure's axis: the title, the unit in brackets if there is one, and the arrow."""
        return f"{self.title} ({self.unit}) {self.arrow}" if self.unit else self.head

    @property
    def arrow(self) -> str:
        """An arrow that points in the better direction."""
        return "↑" if self.higher else "↓"

    @property
    def needs(self) -> tuple[Asset, ...]:
        """All weight files that are needed to compute the metric."""
        return self.networks

    def hashed(self) -> dict[str, object]:
        """Return the part of the declaration that decides the values: the metric's version and those of the libraries.

        Stored values are found again by a hash of it.

        Raises:
            WrongValue: one of the libraries is not installed.
        """
        return {"version": self.version, "libraries": _versions(self.key, self.libraries)}


def _versions(key: str, libraries: Sequence[str]) -> dict[str, str]:
    """Return package name -> installed version; raise WrongValue or MissingPackage for one that is not installed."""
    try:
        return {name: version(name) for name in libraries}
    except PackageNotFoundError as error:
        missing = missing_package(error.name, ("recon",), f"the metric {key}")
        raise missing or WrongValue(f"metric {key}: its library {error.name} is not installed") from error


@dataclass(frozen=True)
class ImageMetric(Metric):
    """A metric that compares each reconstruction with its reference; its value is the mean over images.

    Attributes:
        compute: function (references, outputs, device) -> values (B,) float64. References and outputs are uint8
            (B, 3, H, W) on the CPU; networks run on `device`.
        reference_part: function (references, device) -> what can be computed of the references alone. `compute` then
            takes it as the keyword `known`, so that it is computed once for several tokenizers.
        fast: whether `compute` and `reference_part` take `fast=True`, which lets their network compute in bfloat16.
        texts: whether `compute` takes the keyword `texts`, a list of the text that each reference shows, None where
            nobody knows it.
    """

    compute: Callable[..., Tensor] = field(kw_only=True)
    reference_part: Callable[..., Any] | None = field(default=None, kw_only=True, compare=False)
    fast: bool = field(default=False, kw_only=True)
    texts: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Features:
    """A feature extractor; features are stored for each image and shared by the metrics that use the same extractor.

    Attributes:
        name: the name of the stored array.
        compute: function (images, device) -> features (B, D) float32. Images are uint8 (B, 3, H, W) on the CPU; the
            network runs on `device`.
        networks: the weight files of the network.
        libraries: installed packages whose version may change the features.
        flops: floating-point operations per image, or per row where an image has several.
        version: number that is raised by hand whenever the arithmetic changes, so that features are computed again.
        fast: whether `compute` takes `fast=True`, which lets the network compute in bfloat16.
        rows: where an image has several rows, such as one a patch: function (height, width) -> their number N for an
            image of this size; `compute` then returns (B, N, D). None where every image has one row.
    """

    name: str
    compute: Callable[..., np.ndarray] = field(compare=False)
    networks: tuple[Asset, ...] = ()
    libraries: tuple[str, ...] = ()
    flops: float = 0.0
    version: int = 1
    fast: bool = False
    rows: Callable[[int, int], int] | None = field(default=None, compare=False)

    @property
    def dimensions(self) -> int:
        """The number of dimensions of the stored array: 2, or 3 where an image has several rows."""
        return 2 if self.rows is None else 3

    def hashed(self) -> dict[str, object]:
        """Return what decides the features besides the networks' weights; raise WrongValue for a missing library."""
        return {"name": self.name, "version": self.version, "libraries": _versions(self.name, self.libraries)}


@dataclass(frozen=True)
class DistanceMetric(Metric):
    """A distance between the set of references and the set of outputs, computed from features of the images.

    Attributes:
        compute: function (reference features, output features) -> distance. Each set is a sequence of blocks (n, D)
            that can be iterated over more than once; a set has at least two images.
        features: the feature extractor.
        of_references: what `compute` looks at in the references: their "features"; or their "moments", so that it also
            takes a `lactok.metrics.frechet.Gaussian`; or "nothing", as the Inception Score of the outputs.
        leaving_out: function (references, outputs, grouping) -> the distance of all images, the same as `compute`, and
            without each group of images, from which its interval follows. Without it a distance is computed anew
            without each group, if the images are few.
    """

    compute: Callable[[Any, Sequence[np.ndarray]], float] = field(kw_only=True)
    features: Features = field(kw_only=True)
    of_references: Literal["features", "moments", "nothing"] = "features"
    leaving_out: Callable[[Any, Sequence[np.ndarray], Grouping], LeaveOut] | None = None

    @property
    def needs(self) -> tuple[Asset, ...]:
        """All weight files that are needed to compute the metric, those of the feature extractor included."""
        return (*self.networks, *self.features.networks)

    def hashed(self) -> dict[str, object]:
        """As `Metric.hashed`, with the version and the libraries of the feature extractor."""
        libraries = (*self.libraries, *self.features.libraries)
        hashed = {"version": self.version, "libraries": _versions(self.key, libraries)}
        if self.features.version != 1:  # so that the hashes of earlier versions stay
            hashed["features"] = self.features.version
        return hashed


@dataclass(frozen=True)
class StateMetric(Metric):
    """A metric of all images together, computed from one state per shard.

    Attributes:
        state: function (references, outputs, device) -> the state of one shard, as arrays by name. References and
            outputs are uint8 (N, 3, H, W) on the CPU; networks run on `device`.
        merge: function (states of all shards in order) -> value.
        of_images: whether every array of a state has a row for each image, so that a shard has one state although its
            images differ in shape.
    """

    state: Callable[[Tensor, Tensor, str], Mapping[str, np.ndarray]] = field(kw_only=True)
    merge: Callable[[Sequence[Mapping[str, np.ndarray]]], float] = field(kw_only=True)
    of_images: bool = field(default=False, kw_only=True)


class Metrics(Plugins[Metric]):
    """The registry of all metrics that compare references with outputs."""

    def __init__(self) -> None:
        super().__init__("metric", "metric", "lactok.metrics", lambda: ("lactok.metrics",))

    def get(self, name: str) -> Metric:
        """Return the metric of a key; `torchmetrics:CLASS[@option=value,...]` is a class of torchmetrics.image.

        `pyiqa-NAME` is a metric of pyiqa.

        Raises:
            UserError: the key is unknown, or belongs to a plug-in that cannot be imported or is not a metric.
        """
        if name.startswith(TORCHMETRICS) and name not in self.registered:
            from lactok.metrics.of_torchmetrics import by_name

            return by_name(name)
        if name.startswith(PYIQA) and name not in self.registered and name not in self.points():
            from lactok.metrics import of_pyiqa

            return of_pyiqa.by_name(name)
        return super().get(name)

    def offered(self) -> list[str]:
        """Return all keys, those that `--metrics all` leaves out too."""
        return [*self.names(), *self.unlisted()]

    def maker(self, entry: Metric) -> Any:
        """Return the function that computes a metric, by which `Plugins.add` tells metrics of one key apart."""
        return getattr(entry, "compute", None) or getattr(entry, "state", entry)

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Register a plug-in that is a class of torchmetrics; every other plug-in must use the decorator."""
        if isinstance(loaded, type) and any(base.__module__.startswith("torchmetrics.") for base in loaded.__mro__):
            from lactok.metrics.of_torchmetrics import adapted

            package = "" if point.dist is None else point.dist.name
            self.add(name, adapted(name, loaded, {}, "" if package == "torchmetrics" else package))
            return
        super().adopt(name, point, loaded)


METRICS = Metrics()


def metric(
    key: str,
    *,
    title: str,
    higher: bool,
    features: Features | None = None,
    merge: Callable[[Sequence[Mapping[str, np.ndarray]]], float] | None = None,
    listed: bool = True,
    **declared: Any,
) -> Callable[[F], F]:
    """Return a decorator that declares the metric which the decorated function computes.

    Args:
        key: the metric's name, of letters, digits, `_`, `.` and `-`. Write it as a string literal: it is read from the
            source text before the module is imported.
        title: the name that tables and figures show.
        higher: whether higher is better.
        features: the feature extractor of a distance between sets. With it the function is `DistanceMetric.compute`.
        merge: `StateMetric.merge` of a metric of all images together. With it the function is `StateMetric.state`;
            without it and `features` the function is `ImageMetric.compute`.
        listed: False for a metric that is not one of reconstructions: it is found by its key, but `--metrics all`
            leaves it out.
        declared: the other attributes of `Metric`, and of `DistanceMetric` for a distance.

    Returns:
        The decorator; it returns the function unchanged.

    Raises:
        WrongValue: another function has the key already, the key cannot be a column of a result, or `declared` has an
            attribute that a metric does not have.

    >>> import torch
    >>> @metric("worst_pixel", title="worst pixel", higher=False)
    ... def worst_pixel(references, outputs, device="cpu"):
    ...     return (references.double() - outputs.double()).abs().amax((1, 2, 3))
    >>> find("worst_pixel").head
    'worst pixel ↓'
    >>> _ = METRICS.registered.pop("worst_pixel")  # remove the example again
    """

    def add(function: F) -> F:
        if _KEY.fullmatch(key) is None or key in COLUMNS:
            raise WrongValue(f"a metric cannot be named {key!r}: letters, digits, _ . - and none of {sorted(COLUMNS)}")
        own = function.__module__.startswith(f"{__package__}.")
        common: dict[str, Any] = {
            "key": key,
            "title": title,
            "higher": higher,
            "own": own,
            "listed": listed,
            **declared,
        }
        kind: type[Metric] = ImageMetric
        parts: dict[str, Any] = {"compute": function}
        if features is not None:
            kind, parts = DistanceMetric, {"compute": function, "features": features}
        elif merge is not None:
            kind, parts = StateMetric, {"state": function, "merge": merge}
        try:
            METRICS.add(key, kind(**parts, **common))
        except TypeError:
            unknown = sorted(declared.keys() - kind.__dataclass_fields__.keys())
            raise WrongValue(f"metric {key}: a metric declares no {', '.join(unknown)}") from None
        return function

    return add


def find(key: str) -> Metric:
    """Return the metric of a key; see `Metrics.get` for keys and errors."""
    return METRICS.get(key)


def known() -> list[Metric]:
    """Return all listed metrics in the order of columns; a broken plug-in is left out with a warning in the log."""
    found = []
    for key in METRICS.names():
        try:
            found.append(METRICS.get(key))
        except UserError as error:
            say_left_out(str(error))
    return [each for each in found if each.listed]


@lru_cache(maxsize=64)
def say_left_out(why: str) -> None:
    """Log that a plug-in is left out; the cache keeps the same warning from being repeated."""
    logger.warning("left out: %s", why)


def default_keys() -> tuple[str, ...]:
    """Return the keys of the metrics that are computed when the user names none.

    They are all this project's own, so that installing a plug-in does not change a protocol.
    """
    return tuple(key for key in METRICS.own() if METRICS.get(key).default)


def described(key: str, entry: Mapping[str, Any] | None = None) -> Metric:
    """Return the declaration of a metric that a stored result holds.

    For a metric that is not installed here, the declaration holds what the result says. A class of torchmetrics is not
    instantiated for this, since that can load a network of gigabytes; nor is pyiqa looked for.

    Args:
        key: the metric's key.
        entry: the metric's entry in `result.json`.
    """
    try:
        if key in METRICS.registered or not key.startswith((TORCHMETRICS, PYIQA)):
            return find(key)
    except UserError:
        pass
    stored, plain = entry or {}, key.removeprefix(TORCHMETRICS).removeprefix(PYIQA)
    return Metric(key, str(stored.get("title") or plain), stored.get("higher_is_better") is not False, own=False)


def sorted_keys(keys: Sequence[str]) -> list[str]:
    """Return the keys in the order of columns; keys that are not registered come last, in the order given."""
    order = {key: i for i, key in enumerate(METRICS.names())}
    return sorted(keys, key=lambda key: order.get(key, len(order)))


def assets() -> dict[str, tuple[Asset, ...]]:
    """Return all weight files that metrics need, for `python -m lactok.weights list`."""
    every = [*known(), *map(METRICS.get, METRICS.unlisted())]
    return {"metrics": tuple(dict.fromkeys(asset for m in every for asset in m.needs))}
