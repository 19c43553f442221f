"""Whether the same objects stand in the same places: a detector on the photograph and on the reconstruction.

`box_agreement` takes a detector of COCO's classes, whose weights a model hub carries; `box_agreement_scenes` the small
one that is shipped, which knows the objects of composed scenes alone. Both are metrics of reconstructions, found by the
entry points of the group `lactok.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarks.geneval import detectors
from benchmarks.geneval.detectors import Detection, Detector
from benchmarks.geneval.scorer import iou
from lactok.metrics.registry import metric
from lactok.specs import Asset

if TYPE_CHECKING:
    from torch import Tensor

COCO, SCENES = "mask2former-hf", "scenes-tiny"
OVERLAP = 0.5  # intersection over union of two boxes from which on they are one object's
NAN = float("nan")


@lru_cache(maxsize=2)
def _detector(name: str, device: str) -> Detector:
    return detectors.find("detector", name)(device)


def found_by(name: str, images: Tensor, device: str) -> list[list[Detection]]:
    """Return what a detector finds above its threshold in each of uint8 (B, 3, H, W)."""
    from PIL import Image

    judge = _detector(name, device)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    return [[d for d in judge.detect(picture) if d.score > judge.spec.threshold] for picture in pictures]


def agreement(first: Sequence[Detection], second: Sequence[Detection]) -> float:
    """Return the F1 score of two sets of detections: the share of both that has a partner in the other set.

    Partners are of one class, overlap by `OVERLAP` and more, and are chosen one after the other, the surest first.

    Returns:
        0 to 1; nan where the first set is empty.
    """
    if not first:
        return NAN
    left = list(first)
    pairs = 0
    for own in sorted(second, key=lambda d: -d.score):
        alike = [other for other in left if other.name == own.name and iou(own.box, other.box) >= OVERLAP]
        if alike:
            left.remove(max(alike, key=lambda other: iou(own.box, other.box)))
            pairs += 1
    return 2 * pairs / (len(first) + len(second))


def _values(name: str, outputs: Tensor, device: str, known: list[list[Detection]]) -> Tensor:
    import torch

    found = found_by(name, outputs, device)
    values = [agreement(own, other) for own, other in zip(known, found, strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def coco_boxes(references: Tensor, device: str = "cpu") -> list[list[Detection]]:
    """Return the objects of COCO's classes in photographs, see `found_by`."""
    return found_by(COCO, references, device)


def scene_boxes(references: Tensor, device: str = "cpu") -> list[list[Detection]]:
    """Return the objects of composed scenes in pictures, see `found_by`."""
    return found_by(SCENES, references, device)


@metric(
    "box_agreement",
    title="same boxes",
    higher=True,
    networks=detectors.find("detector", COCO).spec.assets,
    libraries=("transformers",),
    flops_a_pixel=4_000_000,
    reference_part=coco_boxes,
    partial=True,
    listed=False,
)
def box_agreement(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: list[list[Detection]] | None = None
) -> Tensor:
    """Return the F1 score (B,) float64 of detections in photographs and reconstructions, 0 to 1.

    It is nan for a photograph in which the detector finds nothing.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: where the detector computes.
        known: what was found in the references, see `coco_boxes`.
    """
    return _values(COCO, outputs, device, coco_boxes(references, device) if known is None else known)


@metric(
    "box_agreement_scenes",
    title="same boxes (scenes)",
    higher=True,
    networks=(Asset(SCENES, "MIT"),),  # its module would import torch
    flops_a_pixel=50_000,
    reference_part=scene_boxes,
    partial=True,
    listed=False,
)
def box_agreement_scenes(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: list[list[Detection]] | None = None
) -> Tensor:
    """Return `box_agreement` of the objects of composed scenes; `known` is what `scene_boxes` returns."""
    return _values(SCENES, outputs, device, scene_boxes(references, device) if known is None else known)
