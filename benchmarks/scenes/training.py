"""Trains the scenes' judge on scenes that are composed as they are needed, each by the seed of its position."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image, ImageFilter
from scipy.ndimage import find_objects
from torch import Tensor

from benchmarks.geneval.detectors import COLOURS
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes import evaluation
from benchmarks.scenes.compose import SIZE, Plan, Scene, Wanted, compose
from benchmarks.scenes.network import STRIDE, ColourNet, NetShape, Output, SceneNet, corners, crops_of, mask_logits
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.scenes.tasks import chosen, metadata, one_of, shown
from lactok.randomness import seed_of
from lactok.training.data import Photo, Photos
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe
from lactok.training.trainer import Trainer

NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # cells about a centre that learn its box and mask


@dataclass(frozen=True, kw_only=True)
class SceneRecipe(Recipe):
    """`box`, `mask`, `colour`: weights of the losses beside the heat map's.

    Attributes:
        workers: processes that compose scenes beside the training; 0: none.
        degraded: share of scenes that are blurred, reduced or compressed, as generated pictures are.
        validation: scenes on which it is evaluated and its thresholds are chosen.
    """

    data: str = ""
    crop: int = SIZE
    scale: tuple[int, int] = (SIZE, SIZE)
    held_out: int = 0
    model: NetShape = field(default_factory=NetShape)
    box: float = 1.0
    mask: float = 1.0
    colour: float = 0.5
    workers: int = 1
    degraded: float = 0.5
    validation: int = 200


def scene_for(seed: int, stream: str, position: int) -> Scene:
    """The scene at a position of a stream: "train" or "validation"; no stream holds a scene that `make` writes.

    Half show what a caption asks for or nearly so, half anything.
    """
    seed = seed_of(seed, "scenes-tiny", stream, position)
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        plan = shown(metadata(one_of(TASKS, rng), rng), bool(rng.random() < 0.5), rng).plan
    else:
        count = int(rng.integers(0, 7))
        names = chosen(VOCABULARY, count, rng) if rng.random() < 0.7 else chosen(VOCABULARY, 1, rng) * count
        plan = Plan(tuple(Wanted(name, one_of(COLOURS, rng)) for name in names))
    return compose(plan, seed)


def degraded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred, reduced and enlarged again, or compressed: (H, W, 3) uint8."""
    picture, kind = Image.fromarray(image), int(rng.integers(3))
    if kind == 0:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    elif kind == 1:
        small = round(SIZE / rng.uniform(1.2, 2.6))
        picture = picture.resize((small, small), Image.Resampling.BICUBIC).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC
        )
    else:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(25, 90)))
        picture = Image.open(file)
    return np.asarray(picture.convert("RGB"))


def labelled(scene: Scene, image: np.ndarray) -> Tensor:
    """Picture and truth as one: (6, 256, 256) uint8, RGB, then each pixel's object, name and colour, counted from 1."""
    names = np.array([0, *(VOCABULARY.index(w.name) + 1 for w in scene.objects)], np.uint8)
    colours = np.array([0, *(COLOURS.index(w.color) + 1 for w in scene.objects)], np.uint8)
    truth = np.stack([scene.labels, names[scene.labels], colours[scene.labels]])
    return torch.from_numpy(np.concatenate([image.transpose(2, 0, 1), truth]))


class Composed(torch.utils.data.Dataset[Tensor]):
    """The training scenes by position, `labelled`."""

    def __init__(self, recipe: SceneRecipe):
        self.recipe = recipe

    def __getitem__(self, position: int) -> Tensor:
        scene = scene_for(self.recipe.seed, "train", position)
        rng = np.random.default_rng(seed_of(self.recipe.seed, "degraded", position))
        return labelled(scene, degraded(scene.image, rng) if rng.random() < self.recipe.degraded else scene.image)


class Objects(NamedTuple):
    """All objects of a batch of N: picture of each, name, colour (N,), boxes (N, 4) in pixels, masks (N, H, W) bool."""

    which: Tensor
    names: Tensor
    colours: Tensor
    boxes: Tensor
    masks: Tensor


def objects_of(truth: Tensor) -> Objects:
    """From the truth of `labelled` pictures (B, 3, H, W) uint8."""
    rows, masks = [], []
    for i, (labels, name_map, colour_map) in enumerate(truth.cpu().numpy()):
        for label, place in enumerate(find_objects(labels), 1):
            mask = labels == label
            down, across = place
            first = np.flatnonzero(mask)[0]
            rows.append(
                (
                    i,
                    name_map.flat[first] - 1,
                    colour_map.flat[first] - 1,
                    across.start,
                    down.start,
                    across.stop,
                    down.stop,
                )
            )
            masks.append(mask)
    table = torch.tensor(np.array(rows, np.int64).reshape(-1, 7), device=truth.device)
    stacked = np.stack(masks) if masks else np.zeros((0, *truth.shape[-2:]), bool)
    which, names, colours = table[:, :3].unbind(1)
    return Objects(which, names, colours, table[:, 3:].float(), torch.from_numpy(stacked).to(truth.device))


class SceneLearner(Learner):
    def __init__(self, recipe: SceneRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.detector = SceneNet(len(VOCABULARY), recipe.model)
        self.colours = ColourNet(len(COLOURS))
        self.thresholds: dict[str, float] = {}

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images are `labelled`: (B, 6, 256, 256) uint8."""
        pictures = (images[:, :3].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        found = objects_of(images[:, 3:])
        parts = detector_losses(self.detector(pictures), found)
        boxes, masks = roughened(found, seeds)
        logits = self.colours(crops_of(pictures, masks, boxes, found.which)).float()
        parts["colour"] = F.cross_entropy(logits, found.colours, reduction="sum") / max(1, len(boxes))
        recipe = self.recipe
        loss = parts["heat"] + recipe.box * parts["box"] + recipe.mask * parts["mask"] + recipe.colour * parts["colour"]
        return loss, parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """On scenes of the validation stream; the photographs are none."""
        scenes = (scene_for(self.recipe.seed, "validation", i) for i in range(self.recipe.validation))
        values, self.thresholds, pictures = evaluation.evaluate(self.detector, self.colours, scenes)
        return values, pictures

    def notes(self) -> dict[str, Any]:
        """The thresholds that did best on the validation scenes, and the network's shape."""
        return {**self.thresholds, "config": {"model": asdict(self.recipe.model)}}

    def exported(self) -> dict[str, Tensor]:
        return self.state_dict()


def detector_losses(output: Output, found: Objects) -> dict[str, Tensor]:
    """The heat map's focal loss by object, and means over objects of generalised IoU and the masks' cross entropy."""
    from torchvision.ops import generalized_box_iou_loss

    height, width = output.heat.shape[-2:]
    count = max(1, len(found.names))
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 / STRIDE - 0.5
    target = heat_targets(output.heat.shape, found, centres)
    losses = {"heat": focal(output.heat, target) / count}
    if not len(found.names):
        return losses | {"box": output.boxes.sum() * 0, "mask": (output.prototypes.sum() + output.weights.sum()) * 0}
    offsets = torch.tensor(NEIGHBOURS, device=centres.device)
    cells = centres.round().long()[:, None] + offsets  # (N, 5, 2)
    inside = ((cells >= 0) & (cells < torch.tensor([width, height], device=cells.device))).all(-1)
    owner = torch.arange(count, device=cells.device)[:, None].expand_as(inside)[inside]
    column, row = cells[inside].unbind(-1)
    which, boxes = found.which[owner], found.boxes[owner]
    distances = output.boxes[which, :, row, column]  # (M, 4)
    losses["box"] = generalized_box_iou_loss(corners(column, row, distances), boxes, reduction="mean")
    prototypes = output.prototypes.index_select(0, which)  # indexing adds its gradient in no fixed order
    logits = mask_logits(output.weights[which, :, row, column], prototypes)
    covered = F.avg_pool2d(found.masks[:, None].float(), STRIDE)[:, 0][owner]
    weight = within(boxes, height, width)
    entropy = F.binary_cross_entropy_with_logits(logits, covered, reduction="none")
    losses["mask"] = ((entropy * weight).sum((1, 2)) / weight.sum((1, 2))).mean()
    return losses


def within(boxes: Tensor, height: int, width: int) -> Tensor:
    """(M, height, width), 1 in the cells of each box and one around it."""
    x, y = torch.arange(width, device=boxes.device) + 0.5, torch.arange(height, device=boxes.device) + 0.5
    left, top, right, bottom = (boxes / STRIDE).unbind(-1)
    across = (x > left[:, None] - 1) & (x < right[:, None] + 1)
    down = (y > top[:, None] - 1) & (y < bottom[:, None] + 1)
    return (down[:, :, None] & across[:, None, :]).float()


def heat_targets(shape: Sequence[int], found: Objects, centres: Tensor) -> Tensor:
    """1 in the cell of each centre, falling off with the object's size; zeros (B, names, h, w) elsewhere."""
    target = torch.zeros(tuple(shape), device=centres.device)
    y, x = (torch.arange(n, device=centres.device) for n in shape[-2:])
    sizes = (found.boxes[:, 2:] - found.boxes[:, :2]) / STRIDE
    for which, name, centre, size in zip(found.which, found.names, centres.round(), sizes, strict=True):
        across, down = (
            torch.exp(-0.5 * ((at - c) / (0.07 * s).clamp_min(0.7)) ** 2)
            for at, c, s in ((x, centre[0], size[0]), (y, centre[1], size[1]))
        )
        torch.maximum(target[which, name], down[:, None] * across[None, :], out=target[which, name])
    return target


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """CenterNet's focal loss (arXiv 1904.07850, equation 1), summed."""
    chance = logits.sigmoid()
    hit = F.logsigmoid(logits) * (1 - chance) ** 2 * (target == 1)
    miss = F.logsigmoid(-logits) * chance**2 * (1 - target) ** 4
    return -(hit + miss).sum()


def roughened(found: Objects, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and masks as inexact as a detector's, for the colours: moved a little, and masks grown, shrunk or whole."""
    boxes, masks = found.boxes.clone(), found.masks.float()
    for i, seed in enumerate(seeds.tolist()):
        rng = np.random.default_rng(seed)
        for n in torch.nonzero(found.which == i).flatten().tolist():
            size = (boxes[n, 2:] - boxes[n, :2]).repeat(2)
            boxes[n] += size * torch.from_numpy(rng.uniform(-0.06, 0.06, 4)).to(boxes)
            kind = int(rng.integers(4))
            if kind < 2:  # grown or shrunk
                sign = 1.0 if kind else -1.0
                masks[n] = sign * F.max_pool2d(sign * masks[None, None, n], 3, 1, 1)[0, 0]
            elif kind == 2 and rng.random() < 0.3:
                masks[n] = 1.0
    return boxes, masks


class SceneTrainer(Trainer[SceneRecipe]):
    """The shared trainer over composed scenes instead of photographs."""

    def __init__(self, recipe: SceneRecipe, learner: SceneLearner, out: Path, accelerator: Accelerator):
        super().__init__(recipe, learner, out, accelerator)
        upcoming = (list(part) for step in range(self.step, recipe.steps) for part in self.parts(step))
        scenes = torch.utils.data.DataLoader(Composed(recipe), batch_sampler=upcoming, num_workers=recipe.workers)
        self.loader: Iterator[Tensor] = iter(scenes)

    def find_photos(self) -> Photos:
        return Photos((), ())

    def pictures(self, positions: range) -> Tensor:
        """The next scenes, in the order of the positions, composed ahead by other processes."""
        return next(self.loader)
