"""Detectors and colour classifiers: what GenEval's scorer asks of them, and how they are found by name.

Each is a class in a file of `benchmarks.geneval` or `benchmarks.scenes` under `@register_detector(JudgeSpec(...))` or
`@register_colour_classifier(JudgeSpec(...))`, or of any other installed package that names it by the entry-point groups
`lactok.detectors` and `lactok.colour_classifiers`. Nothing is imported before it is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.plugins import Plugins
from lactok.specs import Asset

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

C = TypeVar("C", bound=type[Any])
PACKAGES = ("benchmarks.geneval", "benchmarks.scenes")  # whose files are looked through

# GenEval's colours, in the order that ties are decided by
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")


@dataclass(frozen=True, eq=False)
class Detection:
    """An object that a detector found.

    Attributes:
        name: of the detector's vocabulary, in GenEval's wording ("computer mouse", not "mouse").
        score: 0 to 1.
        box: left, top, right, bottom in pixels of the image; right and bottom are exclusive.
        mask: (H, W) bool, or None where the detector gives boxes alone.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class JudgeSpec:
    """What is fixed about a detector or a colour classifier; all of it stands in a result.

    Attributes:
        vocabulary: the objects that a detector knows, or the colours of a classifier.
        comparable: its scores may stand beside published ones.
        threshold, counting_threshold: scores above which detections count; the second for the counting task.
        assets: its weights.
        version: raised by hand when its arithmetic changes.
    """

    name: str
    vocabulary: tuple[str, ...]
    license: str
    comparable: bool
    threshold: float = 0.3
    counting_threshold: float = 0.9
    assets: tuple[Asset, ...] = ()
    version: int = 1
    note: str = ""


class Detector(ABC):
    """Made by `Detector(device)` with its weights, ready to use; raises WeightsNotFound where they cannot be had."""

    spec: JudgeSpec

    def __init__(self, device: str = "cpu"):
        self.device = device

    @abstractmethod
    def detect(self, image: Image.Image) -> list[Detection]:
        """All objects in an RGB image, best first, without any threshold."""


class ColourClassifier(ABC):
    """As `Detector`."""

    spec: JudgeSpec

    def __init__(self, device: str = "cpu"):
        self.device = device

    @abstractmethod
    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        """The colour of each detection, one of `COLOURS`; all are of one name."""


class Judges(Plugins[type[Any]]):
    """All of one kind; an entry point may be a class with a `spec` that no decorator registers."""

    def __init__(self, what: str, decorator: str, group: str):
        super().__init__(what, decorator, group, lambda: PACKAGES)

    def register(self, spec: JudgeSpec) -> Callable[[C], C]:
        def add(judge: C) -> C:
            self.add(spec.name, judge)
            judge.spec = spec
            return judge

        return add

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        self.add(name, loaded)


DETECTORS = Judges("detector", "register_detector", "lactok.detectors")
COLOUR_CLASSIFIERS = Judges("colour classifier", "register_colour_classifier", "lactok.colour_classifiers")


def register_detector(spec: JudgeSpec) -> Callable[[C], C]:
    """Class decorator: the class is the detector `spec.name`, and `spec` its `spec`.

    The name must stand in the decorator as its first text, since it is read from there before the module is imported.
    """
    return DETECTORS.register(spec)


def register_colour_classifier(spec: JudgeSpec) -> Callable[[C], C]:
    """As `register_detector`, of a colour classifier."""
    return COLOUR_CLASSIFIERS.register(spec)


def _of(kind: str) -> Judges:
    return DETECTORS if kind == "detector" else COLOUR_CLASSIFIERS


def names(kind: str) -> list[str]:
    """Of all detectors ("detector") or colour classifiers ("colour"), this project's first."""
    return _of(kind).names()


def find(kind: str, name: str) -> type[Any]:
    """The class of a detector ("detector") or colour classifier ("colour") by name, not yet loaded.

    Raises:
        UserError: unknown name, or a plug-in that cannot be imported.
    """
    return _of(kind).get(name)
