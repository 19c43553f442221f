"""Detectors and colour classifiers: what GenEval's scorer asks of them, and how they are found by name.

Another one is a class with an `spec`, found by name in the tables here or by the entry-point groups `lactok.detectors`
and `lactok.colour_classifiers` of any installed package. Nothing is imported before it is loaded.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, unknown
from lactok.specs import Asset

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# name -> module:class
DETECTORS: dict[str, str] = {
    "mask2former-mmdet": "benchmarks.geneval.mask2former:OfficialMask2Former",
    "mask2former-hf": "benchmarks.geneval.mask2former:HubMask2Former",
    "scenes-tiny": "benchmarks.scenes.detector:SceneDetector",
}
COLOUR_CLASSIFIERS: dict[str, str] = {
    "clip-vit-l-14": "benchmarks.geneval.colours:ClipColours",
    "scenes-tiny": "benchmarks.scenes.detector:SceneColours",
}

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


def _groups(kind: str) -> tuple[Mapping[str, str], str, str]:
    if kind == "detector":
        return DETECTORS, "lactok.detectors", "detector"
    return COLOUR_CLASSIFIERS, "lactok.colour_classifiers", "colour classifier"


def names(kind: str) -> list[str]:
    """Of all detectors ("detector") or colour classifiers ("colour"), this project's first."""
    table, group, _ = _groups(kind)
    return [*dict.fromkeys([*table, *(point.name for point in entry_points(group=group))])]


def find(kind: str, name: str) -> type[Any]:
    """The class of a detector ("detector") or colour classifier ("colour") by name, not yet loaded.

    Raises:
        UserError: unknown name, or a plug-in that cannot be imported.
    """
    table, group, what = _groups(kind)
    if name in table:
        module, _, attribute = table[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    point = next(iter(entry_points(group=group, name=name)), None)
    if point is None:
        raise unknown(what, name, names(kind))
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"plug-in {name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
