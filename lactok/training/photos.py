"""The photographs of a data set: a folder or webdataset shards, in columns, and their split into two parts.

A photograph becomes a Python object when it is asked for, so that a list of twenty million takes about a gigabyte.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np
from PIL import Image

from lactok.errors import UserError
from lactok.evaluation.folders import files_under
from lactok.evaluation.tar_index import COMPRESSED, refuse_compressed, shards_of
from lactok.files import is_folder
from lactok.images import EXTENSIONS, UnreadableImage, open_photograph
from lactok.outside_text import shown
from lactok.training.columns import Texts, encoded, path_order
from lactok.training.shards import shard_index

MAX_HASHED = 10_000  # photographs whose bytes `Photos.digest` reads at most
LOOSE = -1  # number of the shard of an image file, which lies in none
_ROWS = 1 << 16  # rows of a digest that are written at once


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


@dataclass(frozen=True, eq=False)
class PhotoList(Sequence[Photo]):
    """Photographs in columns; `list[i]` makes the object of one of them, `list[i:j]` another list.

    Attributes:
        root: the folder of the image files.
        shards: the shards.
        names: names in the shard, or paths of image files below `root`.
        shard: number of the shard of each, or `LOOSE` (N,) int32.
        offset, size: position of the first byte in the shard and number of bytes (N,) int64; 0 for image files.
        rows: which of them are in this list, and in which order (n,).
    """

    root: Path
    shards: tuple[Path, ...]
    names: Texts
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int) -> Photo: ...
    @overload
    def __getitem__(self, key: slice) -> PhotoList: ...
    def __getitem__(self, key: int | slice) -> Photo | PhotoList:
        if isinstance(key, slice):
            return replace(self, rows=self.rows[key])
        row = int(self.rows[key])
        shard = int(self.shard[row])
        if shard == LOOSE:
            return Photo(self.root / self.names[row])
        return Photo(self.shards[shard], self.names[row], int(self.offset[row]), int(self.size[row]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PhotoList):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def name(self, i: int) -> str:
        """Return the file name of a photograph without folders, as `Photo.name`."""
        return self.names[int(self.rows[i])].rpartition("/")[2]

    def subset(self, places: np.ndarray) -> PhotoList:
        """Return the photographs at some places."""
        return replace(self, rows=self.rows[places])

    def names_and_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield the name of each photograph and the number of its bytes."""
        for i, row in enumerate(self.rows.tolist()):
            loose = self.shard[row] == LOOSE
            yield self.name(i), self[i].file.stat().st_size if loose else int(self.size[row])


@dataclass(frozen=True)
class Photos:
    """The photographs of a data set, split by a rule that needs no list: those with the lowest sha256 are held out.

    The sha256 is that of the file name. Both parts are sorted by name, so that a folder and shards with the same
    photographs give the same batches.

    Attributes:
        train: the photographs to train on.
        held_out: the photographs to evaluate on.
    """

    train: Sequence[Photo]
    held_out: Sequence[Photo]

    def digest(self) -> str:
        """Return a sha256 of the names and sizes of all photographs and of the bytes of at most `MAX_HASHED` of them.

        A data set of up to that size is read whole, so that any changed byte changes the digest. Of a larger one, every
        n-th photograph is read, so that a training does not begin by reading millions of files.
        """
        found = hashlib.sha256(f"[{len(self.train)}, [".encode())
        comma = ""
        for part in (self.train, self.held_out):
            rows: list[tuple[str, int]] = []
            for row in _names_and_sizes(part):
                rows.append(row)
                if len(rows) == _ROWS:
                    found.update(f"{comma}{json.dumps(rows)[1:-1]}".encode())
                    comma, rows = ", ", []
            if rows:
                found.update(f"{comma}{json.dumps(rows)[1:-1]}".encode())
                comma = ", "
        found.update(b"]]")
        count = len(self.train) + len(self.held_out)
        for i in range(0, count, max(1, math.ceil(count / MAX_HASHED))):
            photo = self.train[i] if i < len(self.train) else self.held_out[i - len(self.train)]
            found.update(hashlib.sha256(photo.read()).digest())
        return found.hexdigest()

    @classmethod
    def of(
        cls,
        data: str | Path,
        held_out: int,
        out: Path | None = None,
        damaged: Callable[[Path, str], None] | None = None,
    ) -> Photos:
        """Find the photographs of a data set and split them.

        Args:
            data: a folder of images, of `.tar` shards or of both; one tar; or a glob or brace pattern of tars.
            held_out: number of photographs to hold out.
            out: the run's folder, in which the index of the shards is kept (`shards.npz`) and damaged shards are
                listed (`broken.txt`); None to keep neither.
            damaged: called with a damaged shard and its fault; by default `lactok.training.data.report_broken`.

        Raises:
            UserError: there is no such data, a shard is compressed, or there are not more than `held_out` images.
        """
        from lactok.training.data import report_broken

        photos = _find_photos(data, out, damaged or (lambda shard, fault: report_broken(str(shard), fault, out)))
        if not len(photos):
            raise UserError(f"{data} has 0 images; the names of images end in {', '.join(EXTENSIONS)}")
        if len(photos) <= held_out:
            raise UserError(f"{data} has {len(photos)} images; more than the {held_out} held out are needed")
        chosen = _lowest(photos, held_out)
        kept = np.ones(len(photos), bool)
        kept[chosen] = False
        return cls(photos.subset(np.flatnonzero(kept)), tuple(photos.subset(chosen)))


def _names_and_sizes(photos: Sequence[Photo]) -> Iterator[tuple[str, int]]:
    """Yield the name of each photograph and the number of its bytes."""
    if isinstance(photos, PhotoList):
        yield from photos.names_and_sizes()
        return
    for photo in photos:
        yield photo.name, photo.size if photo.member else photo.file.stat().st_size


def _lowest(photos: PhotoList, count: int) -> np.ndarray:
    """Return the places of the photographs whose names have the lowest sha256 (count,), ascending."""
    if not count:
        return np.zeros(0, np.int64)
    starts = np.empty(len(photos), np.uint64)  # the first bytes decide between all but a few
    for i in range(len(photos)):
        starts[i] = int.from_bytes(hashlib.sha256(encoded(photos.name(i))).digest()[:8], "big")
    limit = np.partition(starts, count - 1)[count - 1]
    candidates = np.flatnonzero(starts <= limit).tolist()
    candidates.sort(key=lambda i: hashlib.sha256(encoded(photos.name(i))).digest())
    return np.array(sorted(candidates[:count]), np.int64)


def _find_photos(data: str | Path, out: Path | None, damaged: Callable[[Path, str], None]) -> PhotoList:
    """Return the photographs of a data set, sorted by their path in the folder or shard; see `Photos.of`."""
    root, loose = Path(), list[Path]()
    shards = shards_of(str(data))
    if shards is None:
        root = Path(data).expanduser()
        if not is_folder(root):
            raise UserError(f"data folder {shown(root, 200)} does not exist; name another as `data`")
        files = files_under(root, (*EXTENSIONS, ".tar", *COMPRESSED))
        loose = [p for p in files if p.suffix.lower() in EXTENSIONS]
        tars = [p for p in files if p.name.endswith((".tar", *COMPRESSED))]
        shards = [p for p in tars if p.suffix == ".tar"]
        # beside image files, a compressed archive is taken for the one that they were unpacked from
        if shards or not loose:
            refuse_compressed(tars)
    index = shard_index(shards, None if out is None else out / "shards.npz", damaged)
    names = Texts.joined([Texts.of(str(p.relative_to(root)) for p in loose), index.names])
    files_of = [*map(str, loose), *map(str, index.shards)]
    rank = np.empty(len(files_of), np.int64)
    rank[sorted(range(len(files_of)), key=files_of.__getitem__)] = np.arange(len(files_of))
    of_shards = rank[len(loose) :][index.shard]
    order = path_order(names, np.concatenate([rank[: len(loose)], of_shards]))

    def column(values: np.ndarray, of_loose: int) -> np.ndarray:
        return np.concatenate([np.full(len(loose), of_loose, values.dtype), values])[order]

    return PhotoList(
        root,
        index.shards,
        names.take(order),
        column(index.shard, LOOSE),
        column(index.offset, 0),
        column(index.size, 0),
        np.arange(len(names), dtype=np.int32 if len(names) < 2**31 else np.int64),
    )
