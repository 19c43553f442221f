"""Whether the same objects stand in the same places: a detector on the photograph and on the reconstruction.

`box_agreement` takes a detector of COCO's classes, whose weights a model hub carries; `box_agreement_scenes` the small
one that is shipped, which knows the objects of composed scenes alone. Both are metrics of reconstructions, found by the
entry points of the group `lactok.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
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
Found = list[list[Detection]]  # what a detector finds in each of several images


@lru_cache(maxsize=2)
def _detector(name: str, device: str) -> Detector:
    return detectors.find("detector", name)(device)


def found_by(name: str, images: Tensor, device: str = "cpu") -> Found:
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


def _values(name: str, references: Tensor, outputs: Tensor, device: str, known: Found | None) -> Tensor:
    """Return `agreement` (B,) float64 by a detector; `known` is what it finds in the references, if that is known."""
    import torch

    pairs = zip(known or found_by(name, references, device), found_by(name, outputs, device), strict=True)
    return torch.tensor([agreement(own, other) for own, other in pairs], dtype=torch.float64)


@metric(
    "box_agreement",
    title="same boxes",
    higher=True,
    networks=detectors.find("detector", COCO).spec.assets,
    libraries=("transformers",),
    flops_a_pixel=4_000_000,
    reference_part=partial(found_by, COCO),
    partial=True,
    listed=False,
)
def box_agreement(references: Tensor, outputs: Tensor, device: str = "cpu", known: Found | None = None) -> Tensor:
    """Return the F1 score (B,) float64 of detections in photographs and reconstructions, 0 to 1.

    It is nan for a photograph in which the detector finds nothing.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: where the detector computes.
        known: what was found in the references, see `found_by`.
    """
    return _values(COCO, references, outputs, device, known)


@metric(
    "box_agreement_scenes",
    title="same boxes (scenes)",
    higher=True,
    networks=(Asset(SCENES, "MIT"),),  # its module would import torch
    flops_a_pixel=50_000,
    reference_part=partial(found_by, SCENES),
    partial=True,
    listed=False,
)
def box_agreement_scenes(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: Found | None = None
) -> Tensor:
    """Return `box_agreement` of the objects of composed scenes; `known` is what was found in the references."""
    return _values(SCENES, references, outputs, device, known)
