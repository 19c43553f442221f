"""GenEval's detector, Mask2Former with a Swin-S backbone, without mmdetection.

The network is transformers'; what is done to an image before and to the network's output after it is mmdetection's:
configs/mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py and the instance post-processing of
mmdet/models/seg_heads/panoptic_fusion_heads/maskformer_fusion_head.py (@ 2.x). Cheng et al. 2022, arXiv 2112.01527.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.geneval.assets import MASK2FORMER_HF, MASK2FORMER_MMDET
from benchmarks.geneval.detectors import Detection, Detector, JudgeSpec, register_detector
from benchmarks.geneval.prompts import OBJECTS

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from transformers import Mask2FormerForUniversalSegmentation

    from lactok.specs import Asset

LONGEST, SHORTEST, DIVISOR = 1333, 800, 32
MEAN, STD, PADDING = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 128
MOST = 100  # detections an image

Size = tuple[int, int]  # height, width


def network() -> Mask2FormerForUniversalSegmentation:
    """Swin-S, 100 queries, 80 classes, on the meta device: without weights."""
    import torch
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    stages = [f"stage{i}" for i in range(1, 5)]
    swin = SwinConfig(depths=[2, 2, 18, 2], embed_dim=96, num_heads=[3, 6, 12, 24], window_size=7, out_features=stages)
    with torch.device("meta"):
        return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=len(OBJECTS)))


def resized_size(height: int, width: int) -> Size:
    """The largest with sides of at most 1333 and 800 pixels, in proportion, rounded half up (mmcv's rescale_size).

    >>> resized_size(512, 512), resized_size(1024, 256)
    ((800, 800), (1333, 333))
    """
    scale = min(LONGEST / max(height, width), SHORTEST / min(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (height, width, 3) uint8 as OpenCV's INTER_LINEAR, in its fixed-point arithmetic.

    Weights have 11 bits; a row's sums lose 4 bits before they are weighed again, the products 16 and the result 2.
    Without antialiasing: a smaller image is a sampled one.
    """
    (top, bottom), (high, low) = _taps(image.shape[0], height)
    (left, right), (near, far) = _taps(image.shape[1], width)
    # quirk: beyond the last columns a weight is all or nothing, beyond the last rows one row is weighed twice
    near, far = np.where(left == right, 2048, near), np.where(left == right, 0, far)
    values = image.astype(np.int32)
    across = (values[:, left] * near[:, None] + values[:, right] * far[:, None]) >> 4
    mixed = ((across[top] * high[:, None, None]) >> 16) + ((across[bottom] * low[:, None, None]) >> 16)
    return ((mixed + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(size: int, target: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """For each output position its two neighbours, inside the image, and their 11-bit weights."""
    at = ((np.arange(target) + 0.5) * (size / target) - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.int32)
    part = at - first.astype(np.float32)
    weights = (np.rint(w * np.float32(2048)).astype(np.int32) for w in (np.float32(1) - part, part))
    return (first.clip(0, size - 1), (first + 1).clip(0, size - 1)), tuple(weights)


def preprocess(image: np.ndarray) -> tuple[np.ndarray, Size]:
    """The official test pipeline.

    Args:
        image: (H, W, 3) uint8, RGB.

    Returns:
        (3, H', W') float32 with H' and W' multiples of 32, and the size of the image in it, at the upper left. Quirk:
        the padding is 128 before normalisation, so it is not quite 0 after.
    """
    height, width = resized_size(*image.shape[:2])
    resized = resize_bilinear(image, height, width)
    padded = np.full((-(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR, 3), PADDING, np.uint8)
    padded[:height, :width] = resized
    mean, factor = np.array(MEAN, np.float32), (1 / np.array(STD)).astype(np.float32)
    scaled = (padded.astype(np.float32) - mean) * factor
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)), (height, width)


@dataclass(frozen=True)
class Instances:
    """Best first: labels (N,) int64, scores (N,), boxes (N, 4), right and bottom exclusive, masks (N, H, W) bool."""

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


def instances(cls: Tensor, low: Tensor, batch: Size, image: Size, original: Size, most: int = MOST) -> Instances:
    """The official post-processing of one image.

    Args:
        cls: (queries, classes + 1) logits, the last of "no object".
        low: (queries, h, w) mask logits.
        batch: size of the padded image that the network saw.
        image: size of the image in it.
        original: size of the image as it was.

    A pair of query and class is an instance: the `most` likeliest. Its score is the class's probability times the mean
    of the mask's sigmoid over its pixels.
    """
    import torch
    import torch.nn.functional as F

    probabilities = cls.softmax(-1)[:, :-1]
    classes = probabilities.shape[1]
    # unsorted, so that equal scores (of empty masks, 0) stand as in the official code, on the CPU
    likely, index = probabilities.flatten().topk(min(most, probabilities.numel()), sorted=False)
    queries, back = (index // classes).unique(return_inverse=True)  # masks of one query are the same
    masks = F.interpolate(low[queries][None], batch, mode="bilinear", align_corners=False)
    masks = masks[..., : image[0], : image[1]]
    logits = F.interpolate(masks, original, mode="bilinear", align_corners=False)[0]
    inside = logits > 0
    # quirk: the small constant makes an empty mask's score 0
    certainty = (logits.sigmoid() * inside).flatten(1).sum(1) / (inside.flatten(1).sum(1) + 1e-6)
    scores = likely * certainty[back]
    order = scores.argsort(descending=True, stable=True)
    boxes = torch.stack([_box(mask) for mask in inside])
    return Instances((index % classes)[order], scores[order], boxes[back][order], inside[back][order])


def _box(mask: Tensor) -> Tensor:
    """The tight box of a mask; zeros for an empty one."""
    import torch

    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    if not len(rows):
        return torch.zeros(4, device=mask.device)
    sides = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return torch.stack(sides).float()


class Mask2Former(Detector):
    """Always in float32; one image at a time, so that no image is padded by another's size."""

    asset: Asset

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        from lactok import weights

        self.model = loaded(weights.load(self.asset), self.spec.name).to(device)

    def detect(self, image: Image.Image) -> list[Detection]:
        import torch

        from lactok.device import exact_float32

        pixels, size = preprocess(np.asarray(image))
        with torch.inference_mode(), exact_float32():
            out = self.model(pixel_values=torch.from_numpy(pixels)[None].to(self.device))
            original = (image.height, image.width)
            found = instances(
                out.class_queries_logits[0], out.masks_queries_logits[0], pixels.shape[1:], size, original
            )
        labels, scores, boxes = found.labels.tolist(), found.scores.tolist(), found.boxes.tolist()
        masks = found.masks.cpu().numpy()
        return [
            Detection(OBJECTS[label], score, tuple(box), mask)
            for label, score, box, mask in zip(labels, scores, boxes, masks, strict=True)
        ]


def loaded(tensors: dict[str, Tensor], name: str) -> Mask2FormerForUniversalSegmentation:
    """The network with converted tensors; its constants are made anew.

    Raises:
        UserError: a missing, superfluous or misshapen tensor.
    """
    import torch

    from lactok import weights

    model = network()
    empty = torch.ones(len(OBJECTS) + 1)  # of the training loss, which is never computed
    weights.load_strict(model, tensors | {"criterion.empty_weight": empty}, name)
    for module in model.modules():
        if hasattr(module, "relative_position_index"):
            module.relative_position_index = module._create_relative_position_index().view(-1)
    return model.eval()


@register_detector(
    JudgeSpec("mask2former-mmdet", OBJECTS, MASK2FORMER_MMDET.license, comparable=True, assets=(MASK2FORMER_MMDET,))
)
class OfficialMask2Former(Mask2Former):
    """The checkpoint that GenEval's authors used."""

    asset = MASK2FORMER_MMDET


@register_detector(
    JudgeSpec("mask2former-hf", OBJECTS, MASK2FORMER_HF.license, comparable=False, assets=(MASK2FORMER_HF,))
)
class HubMask2Former(Mask2Former):
    """Facebook's checkpoint of the same architecture: other weights, so other scores."""

    asset = MASK2FORMER_HF
