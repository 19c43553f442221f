"""`scenes-tiny`: a detector and a classifier of colours for composed scenes, shipped with the package.

They know the scenes' twenty objects as these are drawn here, so their scores stand for themselves: `comparable` is
False.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor, nn

from benchmarks.geneval.detectors import (
    COLOURS,
    ColourClassifier,
    Detection,
    Detector,
    JudgeSpec,
    register_colour_classifier,
    register_detector,
)
from benchmarks.scenes.finding import colours_of, detections
from benchmarks.scenes.network import ColourNet, NetShape, SceneNet
from benchmarks.scenes.objects import VOCABULARY
from lactok import weights
from lactok.specs import Asset
from lactok.weights.metadata import BUNDLED, bundled_shape, notes

ASSET = Asset("scenes-tiny", license="MIT", size=2_800_000)
NOTES = notes(BUNDLED / "scenes-tiny.safetensors")  # its thresholds were chosen on the training's validation scenes
NOTE = "for composed scenes alone, or pictures of generators that were trained on them"


def part(name: str) -> dict[str, Tensor]:
    """The tensors of the asset's part, "detector" or "colours"."""
    return {k.removeprefix(f"{name}."): v for k, v in weights.load(ASSET).items() if k.startswith(f"{name}.")}


@register_detector(
    JudgeSpec(
        "scenes-tiny",
        VOCABULARY,
        "MIT",
        comparable=False,
        threshold=NOTES["threshold"],
        counting_threshold=NOTES["counting_threshold"],
        assets=(ASSET,),
        note=NOTE,
    )
)
class SceneDetector(Detector):
    """Anchor-free, with masks; 1.3 M parameters, the picture's shorter side at 256 px."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        self.network = SceneNet(len(VOCABULARY), bundled_shape(ASSET.name, "model", NetShape))
        _ready(self.network, part("detector"), device)

    def detect(self, image: Image.Image) -> list[Detection]:
        return detections(self.network, image)


@register_colour_classifier(JudgeSpec("scenes-tiny", COLOURS, "MIT", comparable=False, assets=(ASSET,), note=NOTE))
class SceneColours(ColourClassifier):
    """A small network on each object's masked crop."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        self.network = ColourNet(len(COLOURS))
        _ready(self.network, part("colours"), device)

    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        return colours_of(self.network, image, detections)


def _ready(network: nn.Module, tensors: dict[str, Tensor], device: str) -> None:
    import torch

    weights.load_strict(network, tensors, f"{ASSET.name}'s {type(network).__name__}")
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
