"""The judges, which are object detectors and colour classifiers: their interface, and how they are found by name.

A judge is a class in a module of `benchmarks.geneval` or `benchmarks.scenes` that is decorated by
`@register_detector(JudgeSpec(...))` or `@register_colour_classifier(JudgeSpec(...))`. Another installed package adds
its own by an entry point of the group `lactok.detectors` or `lactok.colour_classifiers`. A judge's module is imported
only when the judge is asked for.
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
PACKAGES = ("benchmarks.geneval", "benchmarks.scenes")  # their modules are searched for the decorators

# GenEval's colours; of equally likely ones the first wins
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")


@dataclass(frozen=True, eq=False)
class Detection:
    """An object that a detector found.

    Attributes:
        name: class of the object, in GenEval's wording ("computer mouse", not "mouse").
        score: the detector's confidence, 0 to 1.
        box: left, top, right, bottom in pixels of the image; right and bottom are exclusive.
        mask: (H, W) bool, or None where the detector gives boxes alone.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class JudgeSpec:
    """What is fixed about a detector or a colour classifier.

    Attributes:
        name: by which users ask for it.
        vocabulary: the classes that a detector knows, or the colours that a classifier knows.
        license: licence of its weights.
        comparable: whether scores by this judge may stand beside published ones.
        threshold: a detection counts if its score is above it; for detectors alone.
        counting_threshold: the same for prompts of the counting task.
        assets: its weights.
        version: raised by hand when its arithmetic changes, so that stored detections are computed anew.
        note: a remark that goes into results.
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
    """Finds objects in images. `Detector(device)` loads the weights; it raises WeightsNotFound if it cannot."""

    spec: JudgeSpec

    def __init__(self, device: str = "cpu"):
        self.device = device

    @abstractmethod
    def detect(self, image: Image.Image) -> list[Detection]:
        """Return all objects in an RGB image, best first, without any threshold on the score."""


class ColourClassifier(ABC):
    """Names the colours of detected objects. `ColourClassifier(device)` loads the weights, as `Detector` does."""

    spec: JudgeSpec

    def __init__(self, device: str = "cpu"):
        self.device = device

    @abstractmethod
    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        """Return the colour of each detection, one of `COLOURS`.

        Args:
            image: the RGB image.
            detections: objects in it, all of one class.
        """


class JudgeRegistry(Plugins[type[Any]]):
    """All detectors, or all colour classifiers, by name.

    An entry point may also be a plain class with a `spec`, without the decorator.
    """

    def __init__(self, what: str, decorator: str, group: str):
        super().__init__(what, decorator, group, lambda: PACKAGES)

    def register(self, spec: JudgeSpec) -> Callable[[C], C]:
        """Return a class decorator that adds the class under `spec.name` and sets its `spec`."""

        def add(judge: C) -> C:
            self.add(spec.name, judge)
            judge.spec = spec
            return judge

        return add

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Add an entry point's class that no decorator has registered."""
        self.add(name, loaded)


DETECTORS = JudgeRegistry("detector", "register_detector", "lactok.detectors")
COLOUR_CLASSIFIERS = JudgeRegistry("colour classifier", "register_colour_classifier", "lactok.colour_classifiers")


def register_detector(spec: JudgeSpec) -> Callable[[C], C]:
    """Return a class decorator that makes a class the detector `spec.name`, described by `spec`.

    Write the name as the first text in the decorator: it is read from the source file, before the module is imported.
    """
    return DETECTORS.register(spec)


def register_colour_classifier(spec: JudgeSpec) -> Callable[[C], C]:
    """Return a class decorator that makes a class the colour classifier `spec.name`, as `register_detector` does."""
    return COLOUR_CLASSIFIERS.register(spec)


def _registry(kind: str) -> JudgeRegistry:
    """Return the registry of the kind "detector" or "colour"."""
    return DETECTORS if kind == "detector" else COLOUR_CLASSIFIERS


def names(kind: str) -> list[str]:
    """Return the names of all detectors (kind "detector") or colour classifiers ("colour"), this project's first."""
    return _registry(kind).names()


def find(kind: str, name: str) -> type[Any]:
    """Return the class of a detector (kind "detector") or colour classifier ("colour") by name.

    Raises:
        UserError: an unknown name, or a plug-in that cannot be imported.
    """
    return _registry(kind).get(name)
