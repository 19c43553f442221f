"""Train the scenes' judge on scenes that are composed while it trains, each by the seed of its position."""

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
from benchmarks.scenes.network import (
    STRIDE,
    ColourNet,
    DetectorOutput,
    NetShape,
    SceneNet,
    boxes_from_distances,
    crops_of,
    mask_logits,
)
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.scenes.tasks import choose, choose_one, metadata, plan_scene
from lactok.randomness import seed_of
from lactok.training.data import Photo, Photos
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe
from lactok.training.trainer import Trainer

# the box and the mask of an object are trained at these cells (x, y) about its centre
TRAINED_CELLS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, kw_only=True)
class SceneRecipe(Recipe):
    """The recipe of the judge's training.

    Attributes:
        model: the shape of the detector.
        box: the weight of the boxes' loss; that of the heat map has the weight 1.
        mask: the weight of the masks' loss.
        colour: the weight of the colour classifier's loss.
        workers: number of processes that compose scenes beside the training; 0 composes them in the training's own.
        degraded: the share of scenes that are blurred, reduced or compressed, since generated pictures are less sharp.
        validation: number of scenes on which the judge is evaluated and its thresholds are chosen.
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
    """Compose the scene at a position of a stream, "train" or "validation".

    Half of the scenes fulfil or break a caption, half show up to six arbitrary objects. The seeds differ from those of
    `folder.make`, so that none of the scenes that it writes is trained on.
    """
    seed = seed_of(seed, "scenes-tiny", stream, position)
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        caption = metadata(choose_one(TASKS, rng), rng)
        plan, _ = plan_scene(caption, bool(rng.random() < 0.5), rng)
    else:
        count = int(rng.integers(0, 7))
        different = rng.random() < 0.7
        names = choose(VOCABULARY, count, rng) if different else choose(VOCABULARY, 1, rng) * count
        plan = Plan(tuple(Wanted(name, choose_one(COLOURS, rng)) for name in names))
    return compose(plan, seed)


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a picture, reduce and enlarge it again, or compress it as JPEG: (H, W, 3) uint8 -> the same."""
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


def pack(scene: Scene, image: np.ndarray) -> Tensor:
    """Pack a picture and its truth into one tensor.

    Args:
        scene: the scene.
        image: its picture, degraded perhaps, (256, 256, 3) uint8.

    Returns:
        (6, 256, 256) uint8: RGB, then for each pixel the number of its object, of that object's name in `VOCABULARY`
        and of its colour in `COLOURS`, all counted from 1; 0 is the background.
    """
    names = np.array([0, *(VOCABULARY.index(w.name) + 1 for w in scene.objects)], np.uint8)
    colours = np.array([0, *(COLOURS.index(w.color) + 1 for w in scene.objects)], np.uint8)
    truth = np.stack([scene.labels, names[scene.labels], colours[scene.labels]])
    return torch.from_numpy(np.concatenate([image.transpose(2, 0, 1), truth]))


class ComposedScenes(torch.utils.data.Dataset[Tensor]):
    """The training scenes by position, as `pack` returns them."""

    def __init__(self, recipe: SceneRecipe):
        self.recipe = recipe

    def __getitem__(self, position: int) -> Tensor:
        scene = scene_for(self.recipe.seed, "train", position)
        rng = np.random.default_rng(seed_of(self.recipe.seed, "degraded", position))
        image = scene.image
        if rng.random() < self.recipe.degraded:
            image = degrade(image, rng)
        return pack(scene, image)


class Objects(NamedTuple):
    """The N objects of a batch of pictures.

    Attributes:
        which: (N,) int64, the index of each object's picture in the batch.
        names: (N,) int64, indices in `VOCABULARY`.
        colours: (N,) int64, indices in `COLOURS`.
        boxes: (N, 4) float32, left, top, right, bottom in pixels.
        masks: (N, H, W) bool.
    """

    which: Tensor
    names: Tensor
    colours: Tensor
    boxes: Tensor
    masks: Tensor


def objects_of(truth: Tensor) -> Objects:
    """Return the objects of a batch from the last three channels of `pack`, (B, 3, H, W) uint8."""
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
    """The detector and the colour classifier with their losses, as the trainer wants them."""

    def __init__(self, recipe: SceneRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.detector = SceneNet(len(VOCABULARY), recipe.model)
        self.colours = ColourNet(len(COLOURS))
        self.thresholds: dict[str, float] = {}

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of packed scenes, (B, 6, 256, 256) uint8, and its parts by name."""
        pictures = (images[:, :3].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        found = objects_of(images[:, 3:])
        parts = detector_losses(self.detector(pictures), found)
        boxes, masks = perturb(found, seeds)
        logits = self.colours(crops_of(pictures, masks, boxes, found.which)).float()
        parts["colour"] = F.cross_entropy(logits, found.colours, reduction="sum") / max(1, len(boxes))
        recipe = self.recipe
        loss = parts["heat"] + recipe.box * parts["box"] + recipe.mask * parts["mask"] + recipe.colour * parts["colour"]
        return loss, parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate on scenes of the validation stream, since there are no photographs, and choose the thresholds."""
        scenes = (scene_for(self.recipe.seed, "validation", i) for i in range(self.recipe.validation))
        values, self.thresholds, pictures = evaluation.evaluate(self.detector, self.colours, scenes)
        return values, pictures

    def notes(self) -> dict[str, Any]:
        """Return the weight file's metadata: the detector's shape, and the thresholds that did best in validation."""
        return {**self.thresholds, "config": {"model": asdict(self.recipe.model)}}

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the weight file."""
        return self.state_dict()


def detector_losses(output: DetectorOutput, found: Objects) -> dict[str, Tensor]:
    """Return the detector's losses: `heat`, `box` and `mask`.

    `heat` is the focal loss of the heat map, divided by the number of objects; `box` is the generalized IoU loss and
    `mask` the cross-entropy of the masks, both averaged over the cells about the objects' centres. A batch without
    objects gives 0 for the latter two.
    """
    from torchvision.ops import generalized_box_iou_loss

    height, width = output.heat.shape[-2:]
    count = max(1, len(found.names))
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 / STRIDE - 0.5
    target = heat_targets(output.heat.shape, found, centres)
    losses = {"heat": focal(output.heat, target) / count}
    if not len(found.names):
        # zeros that depend on every output, so that all parameters get a gradient
        return losses | {"box": output.boxes.sum() * 0, "mask": (output.prototypes.sum() + output.weights.sum()) * 0}
    offsets = torch.tensor(TRAINED_CELLS, device=centres.device)
    cells = centres.round().long()[:, None] + offsets  # (N, 5, 2)
    inside = ((cells >= 0) & (cells < torch.tensor([width, height], device=cells.device))).all(-1)
    owner = torch.arange(count, device=cells.device)[:, None].expand_as(inside)[inside]
    column, row = cells[inside].unbind(-1)
    which, boxes = found.which[owner], found.boxes[owner]
    distances = output.boxes[which, :, row, column]  # (M, 4)
    losses["box"] = generalized_box_iou_loss(boxes_from_distances(column, row, distances), boxes, reduction="mean")
    prototypes = output.prototypes.index_select(0, which)  # unlike [which], its gradient is summed in a fixed order
    logits = mask_logits(output.weights[which, :, row, column], prototypes)
    covered = F.avg_pool2d(found.masks[:, None].float(), STRIDE)[:, 0][owner]
    weight = cells_about(boxes, height, width)
    entropy = F.binary_cross_entropy_with_logits(logits, covered, reduction="none")
    losses["mask"] = ((entropy * weight).sum((1, 2)) / weight.sum((1, 2))).mean()
    return losses


def cells_about(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return (M, height, width), 1 in the cells of each box (M, 4) in pixels and one cell around it, 0 elsewhere."""
    x, y = torch.arange(width, device=boxes.device) + 0.5, torch.arange(height, device=boxes.device) + 0.5
    left, top, right, bottom = (boxes / STRIDE).unbind(-1)
    across = (x > left[:, None] - 1) & (x < right[:, None] + 1)
    down = (y > top[:, None] - 1) & (y < bottom[:, None] + 1)
    return (down[:, :, None] & across[:, None, :]).float()


def heat_targets(shape: Sequence[int], found: Objects, centres: Tensor) -> Tensor:
    """Return what the heat map should be: 1 in the cell of each object's centre, a Gaussian about it, 0 elsewhere.

    Args:
        shape: (B, names, h, w), that of the heat map.
        found: the objects; the Gaussian is as wide as the object's size has it.
        centres: (N, 2), x and y of the objects' centres in cells.
    """
    target = torch.zeros(tuple(shape), device=centres.device)
    y, x = (torch.arange(n, device=centres.device) for n in shape[-2:])
    sizes = (found.boxes[:, 2:] - found.boxes[:, :2]) / STRIDE
    for which, name, centre, size in zip(found.which, found.names, centres.round(), sizes, strict=True):
        across = gaussian(x, centre[0], size[0])
        down = gaussian(y, centre[1], size[1])
        torch.maximum(target[which, name], down[:, None] * across[None, :], out=target[which, name])
    return target


def gaussian(cells: Tensor, centre: Tensor, size: Tensor) -> Tensor:
    """Return a Gaussian of height 1 along one axis; its standard deviation is 0.07 of the size, 0.7 cells at least."""
    return torch.exp(-0.5 * ((cells - centre) / (0.07 * size).clamp_min(0.7)) ** 2)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Return the sum of CenterNet's focal loss (arXiv 1904.07850, equation 1) over a heat map."""
    chance = logits.sigmoid()
    hit = F.logsigmoid(logits) * (1 - chance) ** 2 * (target == 1)
    miss = F.logsigmoid(-logits) * chance**2 * (1 - target) ** 4
    return -(hit + miss).sum()


def perturb(found: Objects, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Make boxes and masks as inexact as a detector's, to train the colour classifier on.

    Args:
        found: the objects of the batch.
        seeds: (B,) int64, a seed for each picture.

    Returns:
        The boxes (N, 4), each side moved by up to 6 % of the size, and the masks (N, H, W) float32, of which a quarter
        is grown by a pixel, a quarter shrunk, and some cover the whole picture.
    """
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
    """The shared trainer, with composed scenes instead of photographs."""

    def __init__(self, recipe: SceneRecipe, learner: SceneLearner, out: Path, accelerator: Accelerator):
        super().__init__(recipe, learner, out, accelerator)
        batches = torch.utils.data.DataLoader(
            ComposedScenes(recipe), batch_sampler=self._upcoming(self.step), num_workers=recipe.workers
        )
        self.batches: Iterator[Tensor] = iter(batches)

    def _upcoming(self, first_step: int) -> Iterator[list[int]]:
        """Yield the positions of each batch from a step to the last one."""
        for step in range(first_step, self.recipe.steps):
            for part in self.parts(step):
                yield list(part)

    def find_photos(self) -> Photos:
        """Return no photographs."""
        return Photos((), ())

    def pictures(self, positions: range) -> Tensor:
        """Return the scenes at the next positions, packed; other processes have composed them ahead."""
        return next(self.batches)
