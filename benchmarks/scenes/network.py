"""The networks of the scenes' judge: a small anchor-free detector with masks, and a colour classifier.

Objects are the peaks of a heat map for each name (CenterNet, arXiv 1904.07850), a box is given by the distances to its
four sides (FCOS, arXiv 1904.01355, equation 1), and a mask is a sum of prototypes weighted by the coefficients at the
peak (YOLACT, arXiv 1904.02689, equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config

STRIDE = 4  # pixels of the picture, across and down, for one cell of the detector's output
PROTOTYPES = 12  # number of mask prototypes
DISTANCE_UNIT = 16.0  # the distance in pixels for which the network's output is 0
CROP = 32  # side in pixels of the crops from which colours are classified
GREY = 0.2  # in [-1, 1]; it covers what the mask leaves out, as GenEval's #999 does


class DetectorOutput(NamedTuple):
    """The detector's output for B pictures (H, W), in cells: h = H / STRIDE, w = W / STRIDE.

    Attributes:
        heat: (B, names, h, w), the logits that an object of each name has its centre in the cell.
        boxes: (B, 4, h, w), the distances in pixels from the cell's centre to the left, top, right and bottom side.
        weights: (B, PROTOTYPES + 1, h, w), each cell's weights of the mask prototypes and, last, a constant.
        prototypes: (B, PROTOTYPES, h, w), the mask prototypes.
    """

    heat: Tensor
    boxes: Tensor
    weights: Tensor
    prototypes: Tensor


@dataclass(frozen=True)
class NetShape(Config):
    """The shape of the detector.

    Attributes:
        channels: of the backbone at strides 4, 8, 16 and 32.
        blocks: number of residual blocks at the same strides.
        head: channels of the feature pyramid and of the heads.
    """

    channels: tuple[int, int, int, int] = (40, 80, 112, 128)
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)
    head: int = 48


class Block(nn.Module):
    """A residual block, (B, C, H, W) -> the same shape; it has a single norm, because norms take most time on a CPU."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(self.norm(x))))


class SceneNet(nn.Module):
    """The detector: pictures (B, 3, H, W) in [-1, 1], H and W multiples of 32 -> `DetectorOutput`."""

    def __init__(self, names: int, shape: NetShape):
        super().__init__()
        channels, head = shape.channels, shape.head
        self.stem = nn.Conv2d(3, 24, 3, stride=2, padding=1)
        before = (24, *channels[:3])
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in zip(before, channels, strict=True))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(c) for _ in range(n))) for c, n in zip(channels, shape.blocks, strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, head, 1) for c in channels)
        self.norm = nn.GroupNorm(8, head)
        self.join = nn.Conv2d(head, head, 3, padding=1)
        self.tower = nn.Conv2d(head, head, 3, padding=1)
        self.heat = nn.Conv2d(head, names, 1)
        self.boxes = nn.Conv2d(head, 4, 1)
        self.weights = nn.Conv2d(head, PROTOTYPES + 1, 1)
        self.prototypes = nn.Sequential(nn.Conv2d(head, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, PROTOTYPES, 1))
        nn.init.constant_(self.heat.bias, -4.6)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> DetectorOutput:
        x, levels = F.silu(self.stem(pictures)), []
        for down, stage in zip(self.down, self.stages, strict=True):
            x = stage(F.silu(down(x)))
            levels.append(x)
        joined = self.lateral[-1](levels[-1])
        for lateral, level in zip(self.lateral[-2::-1], levels[-2::-1], strict=True):
            joined = lateral(level) + F.interpolate(joined, scale_factor=2.0, mode="nearest")
        joined = F.silu(self.join(F.silu(self.norm(joined))))
        tower = F.silu(self.tower(joined))
        distances = self.boxes(tower).float().clamp(-4, 3).exp() * DISTANCE_UNIT
        return DetectorOutput(
            self.heat(tower).float(), distances, self.weights(tower).float(), self.prototypes(joined).float()
        )


class ColourNet(nn.Module):
    """The colour classifier: crops (N, 4, CROP, CROP), RGB in [-1, 1] and the mask -> logits (N, colours)."""

    def __init__(self, colours: int):
        super().__init__()
        widths = (4, 24, 48, 64)
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in pairwise(widths))
        self.out = nn.Linear(64, colours)

    def forward(self, crops: Tensor) -> Tensor:
        for layer in self.layers:
            crops = F.silu(layer(crops))
        return torch.as_tensor(self.out(crops.mean((2, 3))))


def crops_of(pictures: Tensor, masks: Tensor, boxes: Tensor, which: Tensor) -> Tensor:
    """Cut out the input of `ColourNet`: the content of each object's box, grey outside the object's mask.

    Args:
        pictures: (B, 3, H, W) in [-1, 1].
        masks: (N, H, W), 0 to 1, of the N objects.
        boxes: (N, 4), left, top, right, bottom in pixels.
        which: (N,) int64, the index of each object's picture.

    Returns:
        (N, 4, CROP, CROP): RGB in [-1, 1] and the mask, 0 to 1.
    """
    from torchvision.ops import roi_align

    boxes = boxes.float()
    order = torch.arange(len(boxes), device=boxes.device)
    colours = roi_align(pictures.float(), torch.cat([which[:, None].float(), boxes], 1), CROP, aligned=True)
    covered = roi_align(masks[:, None].float(), torch.cat([order[:, None].float(), boxes], 1), CROP, aligned=True)
    return torch.cat([GREY + covered * (colours - GREY), covered], 1)


def mask_logits(weights: Tensor, prototypes: Tensor) -> Tensor:
    """Combine N cells' weights (N, PROTOTYPES + 1) and prototypes (N, PROTOTYPES, h, w) to mask logits (N, h, w)."""
    return torch.einsum("np,nphw->nhw", weights[:, :-1], prototypes) + weights[:, -1, None, None]


def boxes_from_distances(column: Tensor, row: Tensor, distances: Tensor) -> Tensor:
    """Return boxes from cells and the distances to their sides.

    Args:
        column: (M,), the column of each cell.
        row: (M,), the row of each cell.
        distances: (M, 4), pixels from the cell's centre to the left, top, right and bottom side.

    Returns:
        (M, 4), left, top, right, bottom in pixels.
    """
    x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
    left, top, right, bottom = distances.unbind(-1)
    return torch.stack([x - left, y - top, x + right, y + bottom], -1)
