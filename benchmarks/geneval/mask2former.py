"""GenEval's detector, Mask2Former with a Swin-S backbone, without mmdetection (Cheng et al. 2022, arXiv 2112.01527).

The network is transformers'. What is done to an image before it, and to the network's output after it, follows
mmdetection @ 2.x: configs/mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py and the instance
post-processing of mmdet/models/seg_heads/panoptic_fusion_heads/maskformer_fusion_head.py.
"""

from __future__ import annotations

import math
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

LONGEST, SHORTEST = 1333, 800  # pixels of the longer and of the shorter side, at most
DIVISOR = 32  # sides are padded to multiples of it
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of R, G, B, for values from 0 to 255
PADDING = 128  # value of padded pixels, before normalisation
MAX_INSTANCES = 100  # per image

ONE = 2048  # the weight 1 in 11-bit fixed-point arithmetic

Size = tuple[int, int]  # height, width


def network() -> Mask2FormerForUniversalSegmentation:
    """Build the network (Swin-S, 100 queries, 80 classes) on the meta device, without weights."""
    import torch
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    stages = [f"stage{i}" for i in range(1, 5)]
    swin = SwinConfig(depths=[2, 2, 18, 2], embed_dim=96, num_heads=[3, 6, 12, 24], window_size=7, out_features=stages)
    with torch.device("meta"):
        return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=len(OBJECTS)))


def resized_size(height: int, width: int) -> Size:
    """Return the largest size of the same proportions whose sides are at most 1333 and 800 pixels, rounded half up.

    Source: mmcv's rescale_size.

    >>> resized_size(512, 512), resized_size(1024, 256)
    ((800, 800), (1333, 333))
    """
    scale = min(LONGEST / max(height, width), SHORTEST / min(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (height, width, 3) uint8 as OpenCV's INTER_LINEAR does, in its fixed-point arithmetic.

    Weights have 11 bits. The sums over two columns lose their 4 lowest bits before they are multiplied by the rows'
    weights, these products lose 16, and the result 2. There is no antialiasing when an image is made smaller.
    """
    top, bottom, top_weight, bottom_weight = _taps(image.shape[0], height)
    left, right, left_weight, right_weight = _taps(image.shape[1], width)
    # quirk: at the left and right edge all the weight goes to one column; at the top and bottom one row counts twice,
    # with both weights, which rounds differently
    left_weight = np.where(left == right, ONE, left_weight)
    right_weight = np.where(left == right, 0, right_weight)
    values = image.astype(np.int32)
    across = (values[:, left] * left_weight[:, None] + values[:, right] * right_weight[:, None]) >> 4
    upper = (across[top] * top_weight[:, None, None]) >> 16
    lower = (across[bottom] * bottom_weight[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(size: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return, per output position, its two neighbours in the input and their 11-bit weights, each (target,) int32."""
    position = ((np.arange(target) + 0.5) * (size / target) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first.astype(np.float32)
    first_weight = np.rint((np.float32(1) - fraction) * np.float32(ONE)).astype(np.int32)
    second_weight = np.rint(fraction * np.float32(ONE)).astype(np.int32)
    return first.clip(0, size - 1), (first + 1).clip(0, size - 1), first_weight, second_weight


def preprocess(image: np.ndarray) -> tuple[np.ndarray, Size]:
    """Prepare an image for the network as the official test pipeline does: resize, pad, normalise.

    Args:
        image: (H, W, 3) uint8, RGB.

    Returns:
        (3, H', W') float32 with H' and W' multiples of 32, and the size of the resized image, which lies in its upper
        left corner. Quirk: the padding is 128 before normalisation, so it is not quite 0 after.
    """
    height, width = resized_size(*image.shape[:2])
    padded_height = math.ceil(height / DIVISOR) * DIVISOR
    padded_width = math.ceil(width / DIVISOR) * DIVISOR
    padded = np.full((padded_height, padded_width, 3), PADDING, np.uint8)
    padded[:height, :width] = resize_bilinear(image, height, width)
    mean, factor = np.array(MEAN, np.float32), (1 / np.array(STD)).astype(np.float32)
    scaled = (padded.astype(np.float32) - mean) * factor
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)), (height, width)


@dataclass(frozen=True)
class Instances:
    """The N instances in an image, best first.

    Attributes:
        labels: (N,) int64, indices into `OBJECTS`.
        scores: (N,) float32, 0 to 1.
        boxes: (N, 4) float32, left, top, right, bottom in pixels; right and bottom are exclusive.
        masks: (N, H, W) bool.
    """

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


def instances(
    class_logits: Tensor, mask_logits: Tensor, padded: Size, resized: Size, original: Size, most: int = MAX_INSTANCES
) -> Instances:
    """Turn the network's output for one image into instances, as the official post-processing does.

    Every pair of a query and a class is a candidate; the `most` likeliest pairs become instances. An instance's score
    is the probability of its class times the mean of its mask's sigmoid over the mask's pixels.

    Args:
        class_logits: (queries, classes + 1), the last of "no object".
        mask_logits: (queries, h, w).
        padded: size of the padded image that the network saw.
        resized: size of the resized image in it.
        original: size of the image before it was resized; masks and boxes are in its pixels.
    """
    import torch
    import torch.nn.functional as F

    probabilities = class_logits.softmax(-1)[:, :-1]
    classes = probabilities.shape[1]
    # unsorted, so that instances of equal score (0, of empty masks) come in the official code's order, on the CPU
    likely, pairs = probabilities.flatten().topk(min(most, probabilities.numel()), sorted=False)
    labels = pairs % classes
    # instances of one query share its mask: compute it once per query, and find it by the instance's row in `queries`
    queries, row = (pairs // classes).unique(return_inverse=True)
    logits = F.interpolate(mask_logits[queries][None], padded, mode="bilinear", align_corners=False)
    logits = logits[..., : resized[0], : resized[1]]
    logits = F.interpolate(logits, original, mode="bilinear", align_corners=False)[0]
    masks = logits > 0
    # quirk: the small constant makes an empty mask's score 0
    certainty = (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    scores = likely * certainty[row]
    order = scores.argsort(descending=True, stable=True)
    boxes = torch.stack([_box(mask) for mask in masks])
    return Instances(labels[order], scores[order], boxes[row][order], masks[row][order])


def _box(mask: Tensor) -> Tensor:
    """Return the tight box of a mask (H, W), (4,) float32; zeros for an empty mask."""
    import torch

    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    if not len(rows):
        return torch.zeros(4, device=mask.device)
    sides = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return torch.stack(sides).float()


class Mask2Former(Detector):
    """A detector that computes in float32, one image at a time, so that no image is padded to another's size.

    Attributes:
        asset: the checkpoint; each subclass names its own.
    """

    asset: Asset

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        from lactok import weights

        self.model = load_network(weights.load(self.asset), self.spec.name).to(device)

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


def load_network(tensors: dict[str, Tensor], name: str) -> Mask2FormerForUniversalSegmentation:
    """Build the network with the tensors of a converted checkpoint; its constants are computed, not loaded.

    Args:
        tensors: under transformers' names, see `benchmarks.geneval.mask2former_names.convert`.
        name: what messages call the checkpoint.

    Raises:
        UserError: a tensor is missing, superfluous or of the wrong shape.
    """
    import torch

    from lactok import weights

    model = network()
    class_weights = torch.ones(len(OBJECTS) + 1)  # of the training loss, which is never computed
    weights.load_strict(model, tensors | {"criterion.empty_weight": class_weights}, name)
    for module in model.modules():
        if hasattr(module, "relative_position_index"):
            module.relative_position_index = module._create_relative_position_index().view(-1)
    return model.eval()


@register_detector(
    JudgeSpec("mask2former-mmdet", OBJECTS, MASK2FORMER_MMDET.license, comparable=True, assets=(MASK2FORMER_MMDET,))
)
class OfficialMask2Former(Mask2Former):
    """Mask2Former with the checkpoint that GenEval's authors used."""

    asset = MASK2FORMER_MMDET


@register_detector(
    JudgeSpec("mask2former-hf", OBJECTS, MASK2FORMER_HF.license, comparable=False, assets=(MASK2FORMER_HF,))
)
class HubMask2Former(Mask2Former):
    """Mask2Former with Facebook's checkpoint of the same architecture: other weights, so other scores."""

    asset = MASK2FORMER_HF
