"""Photographs for training: a folder, its held-out part and crops that depend on the step only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lactok.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Photos:
    """Files of a folder, split by a rule that needs no list: the names of lowest sha256 are held out."""

    train: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def of_folder(cls, folder: str | Path, held_out: int) -> Photos:
        """Split the images of `folder`.

        Raises:
            UserError: no such folder, or not more images than are to be held out.
        """
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise UserError(f"data folder {root} does not exist; set `data` in the config or pass --data")
        files = sorted(p for p in root.rglob("*") if p.suffix.lower() in EXTENSIONS)
        if len(files) <= held_out:
            raise UserError(f"{root} has {len(files)} images; more than the {held_out} held out are needed")
        ranked = sorted(files, key=lambda p: hashlib.sha256(p.name.encode()).digest())
        kept = set(ranked[:held_out])
        return cls(tuple(p for p in files if p not in kept), tuple(sorted(kept)))


def open_rgb(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} is not a readable image ({error}); remove it from the data folder") from error


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size` by antialiased bicubic, then the central square."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_tensor(images: list[Image.Image]) -> Tensor:
    """PIL images of one size -> (B, 3, H, W) float32 in [-1, 1]."""
    stack = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def random_crop(image: Image.Image, crop: int, scale: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Shorter side drawn from `scale`, a random square of side `crop`, mirrored half the time."""
    ratio = max(int(rng.integers(scale[0], scale[1] + 1)), crop) / min(image.size)
    width, height = (max(crop, round(side * ratio)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = int(rng.integers(width - crop + 1)), int(rng.integers(height - crop + 1))
    image = image.crop((left, top, left + crop, top + crop))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 1 << 32, epoch]).permutation(count)


def random_crops(
    paths: tuple[Path, ...], batch: int, crop: int, scale: tuple[int, int], seed: int, step: int
) -> Tensor:
    """The batch of one step: (batch, 3, crop, crop) in [-1, 1].

    All draws come from (seed, step) and epochs are permutations, so a resumed run sees what an unbroken one would.
    """
    rng = np.random.default_rng([seed, step])
    images = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(position, len(paths))
        images.append(random_crop(open_rgb(paths[_order(len(paths), seed, epoch)[index]]), crop, scale, rng))
    return to_tensor(images)


def crops(photos: Photos, positions: Iterable[int], crop: int, scale: tuple[int, int], seed: int, out: Path) -> Tensor:
    """The photographs at some positions of a run, whichever process asks: (len(positions), 3, crop, crop) in [-1, 1].

    A file that cannot be read is named in `out/broken.txt`, once, and the next one stands in for it.

    Raises:
        UserError: a hundred broken files in a row.
    """
    images = []
    for position in positions:
        epoch, index = divmod(position, len(photos.train))
        order = _order(len(photos.train), seed, epoch)
        for attempt in range(100):
            path = photos.train[order[(index + attempt) % len(order)]]
            try:
                image = open_rgb(path)
                break
            except UserError:
                _report_broken(path, out)
        else:
            raise UserError(
                f"a hundred broken images in a row, the last {path}; they are named in {out / 'broken.txt'}"
            )
        rng = np.random.default_rng([seed, 1 << 33, position])
        images.append(random_crop(image, crop, scale, rng))
    return to_tensor(images)


def _report_broken(path: Path, out: Path) -> None:
    file = out / "broken.txt"
    named = file.read_text().splitlines() if file.exists() else []
    if str(path) not in named:
        with file.open("a") as handle:
            handle.write(f"{path}\n")
        print(f"left out: {path} is not a readable image ({len(named) + 1} so far, see {file})", flush=True)
