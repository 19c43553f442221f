"""Photographs for training: a folder or webdataset shards, the held-out part, and crops of a step."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.images import EXTENSIONS, UnreadableImage, open_photograph
from lactok.training.shards import COMPRESSED, indices, refuse_compressed, shards_of

HASHED = 10_000  # pictures


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture: a file, or some bytes of a shard.

    Attributes:
        file: the picture's file, or the shard's.
        member: its name in the shard; empty for a file of its own.
        offset, size: where its bytes are in the shard.
    """

    file: Path
    member: str = ""
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """Without folders, the same in a shard and out of it."""
        return PurePosixPath(self.member or self.file).name

    def __str__(self) -> str:
        return f"{self.file}/{self.member}" if self.member else str(self.file)

    def resolve(self) -> Photo:
        """With an absolute path."""
        return Photo(self.file.resolve(), self.member, self.offset, self.size)

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size if self.member else -1)

    def open_rgb(self) -> Image.Image:
        """Decoded as evaluation does: upright, transparency over white, 16 bits brought to 8.

        Raises:
            UserError: not a readable picture.
        """
        try:
            return open_photograph(io.BytesIO(self.read()))
        except (UnreadableImage, OSError) as error:
            raise UserError(f"{self} is not a readable image ({error}); remove it from the data") from error


@dataclass(frozen=True)
class Photos:
    """Pictures, split by a rule that needs no list: the names of lowest sha256 are held out.

    Both parts are sorted by name, so that a folder and the same pictures in shards make the same batches.
    """

    train: tuple[Photo, ...]
    held_out: tuple[Photo, ...]

    def digest(self) -> str:
        """Of what is trained on and held out: names and sizes, and the bytes of `HASHED` pictures, spread evenly.

        Up to that number any changed byte is seen; millions of pictures are not all read before a training begins.
        """
        every = (*self.train, *self.held_out)
        listed = [[photo.name, photo.size if photo.member else photo.file.stat().st_size] for photo in every]
        found = hashlib.sha256(json.dumps([len(self.train), listed]).encode())
        for photo in every[:: max(1, -(-len(every) // HASHED))]:
            found.update(hashlib.sha256(photo.read()).digest())
        return found.hexdigest()

    @classmethod
    def of(cls, data: str | Path, held_out: int, out: Path | None = None) -> Photos:
        """Split the pictures of a folder, of webdataset shards in it, or of shards by name or pattern.

        Args:
            data: a folder of pictures, of `.tar` files or of both; one tar; a glob or a brace pattern of tars.
            out: where the shards' index is kept (`shards.json`) and damaged shards are named (`broken.txt`).

        Raises:
            UserError: no such data, compressed shards, or not more pictures than are to be held out.
        """
        found: list[tuple[tuple[str, ...], Photo]] = []
        shards = shards_of(str(data))
        if shards is None:
            root = Path(data).expanduser()
            if not root.is_dir():
                raise UserError(f"data folder {root} does not exist; name another as `data`")
            files = list(root.rglob("*"))
            found = [(p.relative_to(root).parts, Photo(p)) for p in files if p.suffix.lower() in EXTENSIONS]
            tars = sorted(p for p in files if p.name.endswith((".tar", *COMPRESSED)) and p.is_file())
            shards = [p for p in tars if p.suffix == ".tar"]
            if shards or not found:  # beside loose pictures it is the archive that they came from
                refuse_compressed(tars)
        damaged = lambda shard, fault: _report_broken(str(shard), fault, out)  # noqa: E731
        for shard, index in indices(shards, out and out / "shards.json", damaged).items():
            found += [(PurePosixPath(m.name).parts, Photo(shard, *m)) for m in index.members]
        if len(found) <= held_out:
            raise UserError(f"{data} has {len(found)} images; more than the {held_out} held out are needed")
        found.sort(key=lambda item: (item[0], str(item[1].file)))
        photos = [photo for _, photo in found]
        ranked = sorted(range(len(photos)), key=lambda i: hashlib.sha256(photos[i].name.encode()).digest())
        kept = set(ranked[:held_out])
        train = tuple(p for i, p in enumerate(photos) if i not in kept)
        return cls(train, tuple(photos[i] for i in sorted(kept)))


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


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 1 << 32, epoch]).permutation(count)


def random_crops(
    photos: tuple[Photo, ...], batch: int, crop: int, scale: tuple[int, int], seed: int, step: int
) -> Tensor:
    """The batch of one step: (batch, 3, crop, crop) in [-1, 1].

    All draws come from (seed, step) and epochs are permutations, so a resumed run sees what an unbroken one would. So
    is llamagen-vq16-tiny trained; newer recipes take `crops`, whose draws are a picture's own.
    """
    rng = np.random.default_rng([seed, step])
    images = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(position, len(photos))
        photo = photos[_order(len(photos), seed, epoch)[index]]
        images.append(random_crop(photo.open_rgb(), crop, scale, rng))
    return to_tensor(images)


def crops(
    photos: Photos, positions: Iterable[int], crop: int, scale: tuple[int, int], seed: int, out: Path, variants: int = 0
) -> Tensor:
    """The photographs at some positions of a run, whichever process asks: (len(positions), 3, crop, crop) in [-1, 1].

    With `variants` a photograph's crops repeat after so many epochs, otherwise every position has its own.
    A picture that cannot be read is named in `out/broken.txt`, once, and the next one stands in for it.

    Raises:
        UserError: a hundred broken files in a row.
    """
    images = []
    for position in positions:
        epoch, index = divmod(position, len(photos.train))
        order = _order(len(photos.train), seed, epoch)
        for attempt in range(100):
            chosen = order[(index + attempt) % len(order)]
            photo = photos.train[chosen]
            try:
                image = photo.open_rgb()
                break
            except UserError:
                _report_broken(str(photo), "not a readable image", out)
        else:
            raise UserError(
                f"a hundred broken images in a row, the last {photo}; they are named in {out / 'broken.txt'}"
            )
        place = [1 << 34, int(chosen), epoch % variants] if variants else [1 << 33, position]
        images.append(random_crop(image, crop, scale, np.random.default_rng([seed, *place])))
    return to_tensor(images)


def _report_broken(what: str, why: str, out: Path | None) -> None:
    """Name it in `broken.txt`, once, whichever process finds it."""
    if out is None:
        return
    file = out / "broken.txt"
    with FileLock(out / "broken.lock"):
        named = file.read_text().splitlines() if file.exists() else []
        if what in named:
            return
        with file.open("a") as handle:
            handle.write(f"{what}\n")
    print(f"left out: {what}: {why} ({len(named) + 1} so far, see {file})", flush=True)
