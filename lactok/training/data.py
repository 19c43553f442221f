"""Photographs for training: a folder or webdataset shards, their split into training and held-out part, and crops."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.evaluation.folders import files_under
from lactok.files import is_folder
from lactok.images import EXTENSIONS, UnreadableImage, open_photograph
from lactok.outside_text import shown
from lactok.training.shards import COMPRESSED, indices, refuse_compressed, shards_of

MAX_HASHED = 10_000  # photographs whose bytes `Photos.digest` reads at most


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph: a file, or a member of a shard.

    Attributes:
        file: path of the image file or of the shard.
        member: name in the shard; empty for an image file.
        offset: position of the first byte in the shard.
        size: number of bytes in the shard.
    """

    file: Path
    member: str = ""
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """The file name without folders, which is the same in a shard and in a folder."""
        return PurePosixPath(self.member or self.file).name

    def __str__(self) -> str:
        return f"{self.file}/{self.member}" if self.member else str(self.file)

    def resolve(self) -> Photo:
        """Return the same photograph with an absolute path."""
        return Photo(self.file.resolve(), self.member, self.offset, self.size)

    def read(self) -> bytes:
        """Return the bytes of the encoded image."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size if self.member else -1)

    def open_rgb(self) -> Image.Image:
        """Decode the photograph as evaluation does: upright, on white where it is transparent, 8 bits per channel.

        Raises:
            UserError: it is not a readable image.
        """
        try:
            return open_photograph(io.BytesIO(self.read()))
        except (UnreadableImage, OSError) as error:
            raise UserError(f"{self} is not a readable image ({error}); remove it from the data") from error


@dataclass(frozen=True)
class Photos:
    """The photographs of a data set, split by a rule that needs no list: those with the lowest sha256 are held out.

    The sha256 is that of the file name. Both parts are sorted by name, so that a folder and shards with the same
    photographs give the same batches.

    Attributes:
        train: the photographs to train on.
        held_out: the photographs to evaluate on.
    """

    train: tuple[Photo, ...]
    held_out: tuple[Photo, ...]

    def digest(self) -> str:
        """Return a sha256 of the names and sizes of all photographs and of the bytes of at most `MAX_HASHED` of them.

        A data set of up to that size is read whole, so that any changed byte changes the digest. Of a larger one, every
        n-th photograph is read, so that a training does not begin by reading millions of files.
        """
        photos = (*self.train, *self.held_out)
        names_and_sizes = [[photo.name, photo.size if photo.member else photo.file.stat().st_size] for photo in photos]
        found = hashlib.sha256(json.dumps([len(self.train), names_and_sizes]).encode())
        stride = max(1, math.ceil(len(photos) / MAX_HASHED))
        for photo in photos[::stride]:
            found.update(hashlib.sha256(photo.read()).digest())
        return found.hexdigest()

    @classmethod
    def of(cls, data: str | Path, held_out: int, out: Path | None = None) -> Photos:
        """Find the photographs of a data set and split them.

        Args:
            data: a folder of images, of `.tar` shards or of both; one tar; or a glob or brace pattern of tars.
            held_out: number of photographs to hold out.
            out: the run's folder, in which the index of the shards is kept (`shards.json`) and damaged shards are
                listed (`broken.txt`); None to keep neither.

        Raises:
            UserError: there is no such data, a shard is compressed, or there are not more than `held_out` images.
        """
        photos = _find_photos(data, out)
        if len(photos) <= held_out:
            raise UserError(f"{data} has {len(photos)} images; more than the {held_out} held out are needed")
        by_hash = sorted(range(len(photos)), key=lambda i: hashlib.sha256(photos[i].name.encode()).digest())
        chosen = set(by_hash[:held_out])
        train = tuple(photo for i, photo in enumerate(photos) if i not in chosen)
        return cls(train, tuple(photos[i] for i in sorted(chosen)))


def _find_photos(data: str | Path, out: Path | None) -> list[Photo]:
    """Return the photographs of a data set, sorted by their path in the folder or shard; see `Photos.of`."""
    found: list[tuple[tuple[str, ...], Photo]] = []  # (parts of the path, photograph)
    shards = shards_of(str(data))
    if shards is None:
        root = Path(data).expanduser()
        if not is_folder(root):
            raise UserError(f"data folder {shown(root, 200)} does not exist; name another as `data`")
        files = files_under(root, (*EXTENSIONS, ".tar", *COMPRESSED))
        found = [(p.relative_to(root).parts, Photo(p)) for p in files if p.suffix.lower() in EXTENSIONS]
        tars = [p for p in files if p.name.endswith((".tar", *COMPRESSED))]
        shards = [p for p in tars if p.suffix == ".tar"]
        # beside image files, a compressed archive is taken for the one that they were unpacked from
        if shards or not found:
            refuse_compressed(tars)

    def report_damaged(shard: Path, fault: str) -> None:
        report_broken(str(shard), fault, out)

    cache = None if out is None else out / "shards.json"
    for shard, index in indices(shards, cache, report_damaged).items():
        for member in index.members:
            photo = Photo(shard, member.name, member.offset, member.size)
            found.append((PurePosixPath(member.name).parts, photo))
    found.sort(key=lambda item: (item[0], str(item[1].file)))
    return [photo for _, photo in found]


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
    """List a broken file in `out/broken.txt` and print why; once, also if several processes find it."""
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
