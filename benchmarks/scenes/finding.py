"""From the networks' outputs to detections and colours, at any size of picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.geneval.detectors import COLOURS, Detection
from benchmarks.scenes.network import STRIDE, ColourNet, SceneNet, corners, crops_of, mask_logits
from benchmarks.scenes.objects import VOCABULARY

SIDE = 256  # shorter side of what the network sees
MULTIPLE = 32
MOST = 24  # detections a picture
FAINT = 0.02  # score below which a peak is no detection
SAME = 0.6  # IoU above which two boxes are one object, whatever its name: the scenes' objects hardly overlap


def as_input(image: Image.Image, device: torch.device) -> tuple[Tensor, tuple[float, float]]:
    """An RGB image with its shorter side at 256 px, keeping its ratio, padded to multiples of 32 with grey.

    Returns:
        (1, 3, H, W) in [-1, 1], and pixels of the image for one of the network's, across and down.
    """
    scale = SIDE / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device) / 127.5 - 1
    padded = F.pad(tensor, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
    return padded.contiguous(memory_format=torch.channels_last), (image.width / width, image.height / height)


@torch.no_grad()
def detections(network: SceneNet, image: Image.Image) -> list[Detection]:
    """All objects that the network finds in an RGB image, best first."""
    from torchvision.ops import nms

    pictures, scale = as_input(image, next(network.parameters()).device)
    output = network(pictures)
    heat = output.heat[0].sigmoid()
    peaks = heat * (heat == F.max_pool2d(heat[None], 3, 1, 1)[0])
    scores, flat = peaks.flatten().topk(4 * MOST)
    name, row, column = torch.unravel_index(flat, heat.shape)
    stretch = torch.tensor([*scale, *scale], device=flat.device)
    boxes = corners(column, row, output.boxes[0][:, row, column].T) * stretch
    limits = torch.tensor([image.width, image.height] * 2, device=flat.device)
    boxes = boxes.clamp_min(0).minimum(limits)
    kept = nms(boxes, scores, SAME)
    kept = kept[(scores[kept] > FAINT) & (boxes[kept, 2:] - boxes[kept, :2] >= 1).all(1)][:MOST]
    prototypes = output.prototypes.expand(len(kept), -1, -1, -1)
    logits = mask_logits(output.weights[0][:, row[kept], column[kept]].T, prototypes).cpu().numpy()
    found = []
    for i, k in enumerate(kept.tolist()):
        left, top, right, bottom = boxes[k].tolist()
        mask = mask_in((left, top, right, bottom), logits[i], image.size, scale)
        found.append(Detection(VOCABULARY[int(name[k])], float(scores[k]), (left, top, right, bottom), mask))
    return found


def mask_in(
    box: tuple[float, float, float, float], logits: np.ndarray, size: tuple[int, int], scale: tuple[float, float]
) -> np.ndarray:
    """The mask (H, W) bool of an image of `size`: logits at a quarter of the network's size, bilinear, in the box."""
    left, top, right, bottom = int(box[0]), int(box[1]), round(box[2] + 0.499), round(box[3] + 0.499)
    right, bottom = min(right, size[0]), min(bottom, size[1])
    across, down = scale[0] * STRIDE, scale[1] * STRIDE
    place = (left / across, top / down, min(right / across, logits.shape[1]), min(bottom / down, logits.shape[0]))
    window = Image.fromarray(logits).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=place)
    mask = np.zeros((size[1], size[0]), bool)
    mask[top:bottom, left:right] = np.asarray(window) > 0
    return mask


@torch.no_grad()
def colours_of(network: ColourNet, image: Image.Image, found: Sequence[Detection]) -> list[str]:
    """The colour of each detection; one without a mask is taken with all of its box."""
    if not found:
        return []
    device = next(network.parameters()).device
    pictures = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].to(device) / 127.5 - 1
    whole = np.ones((image.height, image.width), bool)
    masks = torch.from_numpy(np.stack([whole if d.mask is None else d.mask for d in found])).to(device)
    boxes = torch.tensor([d.box for d in found], device=device)
    logits = network(crops_of(pictures, masks, boxes, torch.zeros(len(found), dtype=torch.long, device=device)))
    return [COLOURS[i] for i in logits.argmax(1).tolist()]
