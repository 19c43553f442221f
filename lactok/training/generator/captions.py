"""The captions of a data set's photographs: beside them, in a folder or in webdataset shards, or in one file."""

from __future__ import annotations

import hashlib
import io
import math
from array import array
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from lactok.errors import UserError, WrongValue
from lactok.evaluation import captions as caption_files
from lactok.evaluation.names import matched
from lactok.evaluation.tar_index import index, sample_of
from lactok.files import is_file, is_folder, write_atomically
from lactok.outside_text import shown
from lactok.training.data import Photo

FILES = ("captions.json", "captions.jsonl", "captions.tsv")  # that a folder of pictures may hold
ENDINGS = caption_files.ENDINGS
MAX_HASHED = 10_000  # captions beside pictures whose bytes a digest reads at most


class Captions(Protocol):
    """The captions of N photographs, by their numbers."""

    def there(self) -> np.ndarray:
        """Return which photographs seem to have a caption, (N,) bool; it may turn out to be empty or unreadable."""

    def text(self, number: int) -> str:
        """Return a photograph's caption on one line, "" if it has none.

        Raises:
            UserError: it cannot be read.
        """

    def digest(self) -> str:
        """Return a sha256 of the captions; of more than `MAX_HASHED`, of some of them and of the sizes of all."""


def find(photos: Sequence[Photo], data: str, file: str, cache: Path) -> Captions:
    """Find the captions of photographs.

    Args:
        photos: the photographs.
        data: the folder, shard or pattern of shards that they come from.
        file: a file of captions by the pictures' names; empty to look in the folder and beside the pictures.
        cache: folder in which is kept where the captions are in shards.

    Raises:
        UserError: there is no such file, it is damaged, or no photograph has a caption.
    """
    root = Path(data).expanduser()
    named = [Path(file).expanduser()] if file else [root / name for name in FILES if is_folder(root)]
    found = [path for path in named if file or is_file(path)]
    captions: Captions = Listed(photos, root, found[0]) if found else Beside(photos, cache)
    if not captions.there().any():
        if found:
            raise WrongValue(f"{shown(found[0], 200)} names none of the {len(photos)} pictures of {shown(data, 200)}")
        raise WrongValue(
            f"none of the {len(photos)} pictures of {shown(data, 200)} has a caption; put NAME.txt beside NAME.jpg, or "
            f"name a file of captions by the pictures' names as `captions`"
        )
    return captions


class Listed:
    """Captions in one file, as `lactok.evaluation.captions.read` takes it.

    A picture's name is its path in the folder or shard. Names without folders are those of the files alone, if no two
    pictures have the same.

    Args:
        photos: the photographs.
        root: their folder, if they are in one.
        path: the file.
    """

    def __init__(self, photos: Sequence[Photo], root: Path, path: Path):
        texts = caption_files.read(path)
        names = [photo.member or _below(photo.file, root) for photo in photos]
        if not any("/" in name for name in texts):
            short = [PurePosixPath(name).name for name in names]
            if len(set(short)) == len(short):
                names = short
        pairs = matched(names, texts, "captions")
        self.texts = [texts[pairs[name]] if name in pairs else "" for name in names]

    def there(self) -> np.ndarray:
        return np.array([text != "" for text in self.texts], bool)

    def text(self, number: int) -> str:
        return self.texts[number]

    def digest(self) -> str:
        found = hashlib.sha256()
        for text in self.texts:
            found.update(hashlib.sha256(text.encode()).digest())
        return found.hexdigest()


class Beside:
    """Captions beside the pictures: `NAME.txt` or `NAME.json` beside a file or in its shard, see `captions.beside`.

    Args:
        photos: the photographs.
        cache: folder in which the places of captions in shards are kept.
    """

    def __init__(self, photos: Sequence[Photo], cache: Path):
        self.photos = photos
        self.offsets = np.zeros(len(photos), np.int64)
        self.sizes = np.full(len(photos), -1, np.int64)  # -1: no caption
        self.kinds = np.zeros(len(photos), np.uint8)  # place in ENDINGS
        members: dict[Path, array[int]] = {}
        for number, photo in enumerate(photos):
            if photo.member:
                members.setdefault(photo.file, array("q")).append(number)
            else:
                self._look_beside(number, photo.file)
        for shard, numbers in members.items():
            self._look_inside(shard, numbers, cache)

    def _look_beside(self, number: int, picture: Path) -> None:
        """Note the file of a picture's caption."""
        for kind in range(len(ENDINGS)):
            path = _beside(picture, kind)
            if path is not None:
                self.sizes[number], self.kinds[number] = path.stat().st_size, kind
                return

    def _look_inside(self, shard: Path, numbers: Sequence[int], cache: Path) -> None:
        """Note where the captions of a shard's pictures are."""
        keys, places = members_of(shard, cache)
        found = dict(zip(keys.tolist(), places.tolist(), strict=True))
        for number in numbers:
            place = found.get(sample_of(self.photos[number].member) or "")
            if place is not None:
                self.offsets[number], self.sizes[number], self.kinds[number] = place

    def there(self) -> np.ndarray:
        return np.asarray(self.sizes > 0)

    def text(self, number: int) -> str:
        if self.sizes[number] < 1:
            return ""
        where = f"the caption of {shown(self.photos[number], 200)}"
        return caption_files.beside(self._bytes(number), ENDINGS[self.kinds[number]], where)

    def _bytes(self, number: int) -> bytes:
        """Return a caption's file or member as it is stored."""
        photo = self.photos[number]
        try:
            if photo.member:
                return Photo(photo.file, "caption", int(self.offsets[number]), int(self.sizes[number])).read()
            kind = int(self.kinds[number])
            return (_beside(photo.file, kind) or photo.file.with_suffix(ENDINGS[kind])).read_bytes()
        except OSError as error:
            raise UserError(f"the caption of {shown(photo, 200)} cannot be read: {error.strerror}") from error

    def digest(self) -> str:
        found = hashlib.sha256(self.sizes.tobytes() + self.kinds.tobytes())
        numbers = np.flatnonzero(self.sizes > 0)
        for number in numbers[:: max(1, math.ceil(len(numbers) / MAX_HASHED))].tolist():
            found.update(hashlib.sha256(self._bytes(number)).digest())
        return found.hexdigest()


def members_of(shard: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return where the captions in a shard are; a shard that has not changed is taken from the cache.

    Returns:
        The samples' keys (M,) as texts; and (M, 3) int64: position of the first byte, number of bytes, place in
        `ENDINGS`.
    """
    stat = shard.stat()
    key = hashlib.sha256(f"{shard.resolve()}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}".encode()).hexdigest()[:32]
    path = cache / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["keys"], stored["places"]
    except Exception:  # not there, or damaged, which has errors of many classes: it is made again
        pass
    found = {}
    for kind, ending in reversed([*enumerate(ENDINGS)]):  # the first ending has the last word
        for member in index(shard, (ending,)).members:
            found[sample_of(member.name) or ""] = (member.offset, member.size, kind)
    keys = np.array([*found], dtype=np.str_) if found else np.zeros(0, "U1")
    places = np.array([*found.values()], np.int64).reshape(-1, 3)
    buffer = io.BytesIO()
    np.savez(buffer, keys=keys, places=places)
    write_atomically(path, buffer.getvalue())
    return keys, places


def _beside(picture: Path, kind: int) -> Path | None:
    """Return the file of a picture's caption with the ending of this place in `ENDINGS`, also in capitals, if any."""
    for ending in (ENDINGS[kind], ENDINGS[kind].upper()):
        path = picture.with_suffix(ending)
        if is_file(path):
            return path
    return None


def _below(path: Path, root: Path) -> str:
    """Return a path as it is below a folder, or the name alone if it is not below it."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name
