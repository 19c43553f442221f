"""Run the judge's networks on a picture of any size and turn their outputs into detections and colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.geneval.detectors import COLOURS, Detection
from benchmarks.scenes.network import STRIDE, ColourNet, SceneNet, boxes_from_distances, crops_of, mask_logits
from benchmarks.scenes.objects import VOCABULARY

SIDE = 256  # the shorter side, in pixels, of the picture that the network sees
SIDE_MULTIPLE = 32  # both sides are padded to multiples of it
MAX_DETECTIONS = 24  # of a picture
MIN_SCORE = 0.02  # a peak of the heat map with a lower score is no detection
# of two boxes with a higher IoU the worse one is dropped, whatever their names: the scenes' objects hardly overlap
NMS_IOU = 0.6


def to_network_input(image: Image.Image, device: torch.device) -> tuple[Tensor, tuple[float, float]]:
    """Resize an RGB image to a shorter side of 256 px, keeping its ratio, and pad it with grey to multiples of 32.

    Returns:
        The input of the network, (1, 3, H, W) in [-1, 1], and how many pixels of the image one of its pixels stands
        for, across and down.
    """
    scale = SIDE / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device) / 127.5 - 1
    padded = F.pad(tensor, (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE))
    return padded.contiguous(memory_format=torch.channels_last), (image.width / width, image.height / height)


@torch.no_grad()
def detections(network: SceneNet, image: Image.Image) -> list[Detection]:
    """Return all objects that the network finds in an RGB image, best first."""
    from torchvision.ops import nms

    pictures, scale = to_network_input(image, next(network.parameters()).device)
    output = network(pictures)
    heat = output.heat[0].sigmoid()
    peaks = heat * (heat == F.max_pool2d(heat[None], 3, 1, 1)[0])
    scores, flat = peaks.flatten().topk(4 * MAX_DETECTIONS)
    name, row, column = torch.unravel_index(flat, heat.shape)
    stretch = torch.tensor([*scale, *scale], device=flat.device)
    boxes = boxes_from_distances(column, row, output.boxes[0][:, row, column].T) * stretch
    limits = torch.tensor([image.width, image.height] * 2, device=flat.device)
    boxes = boxes.clamp_min(0).minimum(limits)
    kept = nms(boxes, scores, NMS_IOU)
    kept = kept[(scores[kept] > MIN_SCORE) & (boxes[kept, 2:] - boxes[kept, :2] >= 1).all(1)][:MAX_DETECTIONS]
    prototypes = output.prototypes.expand(len(kept), -1, -1, -1)
    logits = mask_logits(output.weights[0][:, row[kept], column[kept]].T, prototypes).cpu().numpy()
    found = []
    for i, k in enumerate(kept.tolist()):
        left, top, right, bottom = boxes[k].tolist()
        mask = paste_mask((left, top, right, bottom), logits[i], image.size, scale)
        found.append(Detection(VOCABULARY[int(name[k])], float(scores[k]), (left, top, right, bottom), mask))
    return found


def paste_mask(
    box: tuple[float, float, float, float], logits: np.ndarray, size: tuple[int, int], scale: tuple[float, float]
) -> np.ndarray:
    """Enlarge an object's mask logits to the image and keep what lies in its box.

    Args:
        box: left, top, right, bottom in pixels of the image.
        logits: (h, w) at a quarter of the network's input.
        size: width and height of the image in pixels.
        scale: how many pixels of the image one of the network's input stands for, across and down.

    Returns:
        The mask (H, W) bool.
    """
    left, top, right, bottom = int(box[0]), int(box[1]), round(box[2] + 0.499), round(box[3] + 0.499)
    right, bottom = min(right, size[0]), min(bottom, size[1])
    across, down = scale[0] * STRIDE, scale[1] * STRIDE
    source = (left / across, top / down, min(right / across, logits.shape[1]), min(bottom / down, logits.shape[0]))
    window = Image.fromarray(logits).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
    mask = np.zeros((size[1], size[0]), bool)
    mask[top:bottom, left:right] = np.asarray(window) > 0
    return mask


@torch.no_grad()
def colours_of(network: ColourNet, image: Image.Image, found: Sequence[Detection]) -> list[str]:
    """Return the colour of each detection; where one has no mask, its whole box is classified."""
    if not found:
        return []
    device = next(network.parameters()).device
    pictures = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].to(device) / 127.5 - 1
    whole = np.ones((image.height, image.width), bool)
    masks = torch.from_numpy(np.stack([whole if d.mask is None else d.mask for d in found])).to(device)
    boxes = torch.tensor([d.box for d in found], device=device)
    logits = network(crops_of(pictures, masks, boxes, torch.zeros(len(found), dtype=torch.long, device=device)))
    return [COLOURS[i] for i in logits.argmax(1).tolist()]
