"""Photographs as a training sees them: squares and random crops, and the list of those that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.outside_text import shown
from lactok.training.photos import Photo, Photos

__all__ = ["Photo", "Photos", "centre_square", "crops", "load_squares", "random_crop", "random_crops", "to_tensor"]


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels by antialiased bicubic interpolation and crop the central square."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Return RGB images of one size as a tensor (B, 3, H, W) float32 in [-1, 1]."""
    stack = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def load_squares(photos: Sequence[Photo], size: int) -> Tensor:
    """Return the central squares of photographs as a tensor (N, 3, size, size) float32 in [-1, 1].

    Raises:
        UserError: a photograph is not readable.
    """
    return to_tensor([centre_square(photo.open_rgb(), size) for photo in photos])


def random_crop(image: Image.Image, crop: int, scale: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a random square of side `crop` of an image, mirrored half the time.

    Before, the shorter side of the image is resized to a random number of pixels in the range `scale`.
    """
    ratio = max(int(rng.integers(scale[0], scale[1] + 1)), crop) / min(image.size)
    width, height = (max(crop, round(side * ratio)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = int(rng.integers(width - crop + 1)), int(rng.integers(height - crop + 1))
    image = image.crop((left, top, left + crop, top + crop))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the random order (count,) in which an epoch takes the photographs."""
    return np.random.default_rng([seed, 1 << 32, epoch]).permutation(count)


def random_crops(
    photos: Photos, batch: int, crop: int, scale: tuple[int, int], seed: int, step: int, out: Path
) -> Tensor:
    """Return the batch of one step, (batch, 3, crop, crop) in [-1, 1].

    Every epoch is a random permutation of the photographs, and the random numbers of a step depend only on the seed and
    the step, so that a resumed run gets the same batches as one without a break. llamagen-vq16-tiny is trained with
    these crops; newer recipes use `crops`, in which the random numbers of an image do not depend on its batch. A
    photograph that is not readable is replaced as there.

    Raises:
        UserError: a hundred photographs in a row are not readable.
    """
    rng = np.random.default_rng([seed, step])
    images = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(position, len(photos.train))
        _, image = _open_next(photos, _permutation(len(photos.train), seed, epoch), index, out)
        images.append(random_crop(image, crop, scale, rng))
    return to_tensor(images)


def crops(
    photos: Photos, positions: Iterable[int], crop: int, scale: tuple[int, int], seed: int, out: Path, variants: int = 0
) -> Tensor:
    """Return the crops at some positions of a run, (len(positions), 3, crop, crop) in [-1, 1].

    The run is a sequence of epochs, each a random permutation of the photographs; a position counts from its first
    image. A crop depends only on the seed and the position, not on the batch or the process. A photograph that is not
    readable is listed in `out/broken.txt` and replaced by the next one of the epoch.

    Args:
        photos: the data set.
        positions: the positions in the run.
        crop: side of a crop in pixels.
        scale: range of the shorter side in pixels to which a photograph is resized before it is cropped.
        seed: seed of the run.
        out: the run's folder.
        variants: number of different crops of each photograph, which repeat after so many epochs; 0: always new ones.

    Raises:
        UserError: a hundred photographs in a row are not readable.
    """
    images = []
    for position in positions:
        epoch, index = divmod(position, len(photos.train))
        chosen, image = _open_next(photos, _permutation(len(photos.train), seed, epoch), index, out)
        # the large numbers keep these random streams apart from each other and from those of `random_crops`
        stream = [1 << 34, chosen, epoch % variants] if variants else [1 << 33, position]
        images.append(random_crop(image, crop, scale, np.random.default_rng([seed, *stream])))
    return to_tensor(images)


def _open_next(photos: Photos, order: np.ndarray, start: int, out: Path) -> tuple[int, Image.Image]:
    """Open the first readable training photograph of an epoch's order from `start` on.

    Returns:
        Its index in `photos.train`, and the image.
    """
    for attempt in range(100):
        chosen = int(order[(start + attempt) % len(order)])
        photo = photos.train[chosen]
        try:
            return chosen, photo.open_rgb()
        except UserError:
            report_broken(str(photo), "not a readable image", out)
    raise UserError(f"a hundred broken images in a row, the last {photo}; they are named in {out / 'broken.txt'}")


def report_broken(what: str, why: str, out: Path | None) -> None:
    """List a broken file in `out/broken.txt` and print why; once, also if several processes find it.

    In the list a line break in a name is written as `\\n`, and a name that is not UTF-8 has its own bytes.
    """
    if out is None:
        return
    file = out / "broken.txt"
    line = os.fsencode(what.replace("\n", "\\n").replace("\r", "\\r"))
    with FileLock(out / "broken.lock"):
        named = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        if line in named:
            return
        with file.open("ab") as handle:
            handle.write(line + b"\n")
    print(f"left out: {shown(what, 500)}: {shown(why, 500)} ({len(named) + 1} so far, see {file})", flush=True)
