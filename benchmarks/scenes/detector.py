"""`scenes-tiny`: a detector and a colour classifier for composed scenes, shipped with the package.

They know twenty objects as the scenes draw them, so a score by them is not comparable with one by GenEval's
own judges: `comparable` is False.
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
# the metadata of the weight file: among them the thresholds that did best on the validation scenes of the training
NOTES = notes(BUNDLED / "scenes-tiny.safetensors")
NOTE = "for composed scenes alone, or pictures of generators that were trained on them"


def part(name: str) -> dict[str, Tensor]:
    """Return the tensors of one network of the asset, "detector" or "colours", without that prefix."""
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
    """An anchor-free detector with masks (1.3 M parameters), which sees the picture with its shorter side at 256 px."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        self.network = SceneNet(len(VOCABULARY), bundled_shape(ASSET.name, "model", NetShape))
        _prepare(self.network, part("detector"), device)

    def detect(self, image: Image.Image) -> list[Detection]:
        """Return the objects found in an RGB image, with masks, best first."""
        return detections(self.network, image)


@register_colour_classifier(JudgeSpec("scenes-tiny", COLOURS, "MIT", comparable=False, assets=(ASSET,), note=NOTE))
class SceneColours(ColourClassifier):
    """A classifier of colours by a small network on each object's masked crop."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        self.network = ColourNet(len(COLOURS))
        _prepare(self.network, part("colours"), device)

    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        """Return the colour of each detection, one of GenEval's ten."""
        return colours_of(self.network, image, detections)


def _prepare(network: nn.Module, tensors: dict[str, Tensor], device: str) -> None:
    """Load the weights into a network and make it ready for inference."""
    import torch

    weights.load_strict(network, tensors, f"{ASSET.name}'s {type(network).__name__}")
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
