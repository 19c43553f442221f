"""The store of finished shards: files under the hash of all that they depend on, written whole or not at all.

A file of the store is checked when it is read. One that is damaged, or holds something else than it should, is removed
with a warning and counts as missing, so that it is made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lactok.errors import UserError, disk_errors
from lactok.files import copy_atomically, replacing, tidy, write_atomically

Arrays = dict[str, np.ndarray]
# check(arrays that were read, names of all arrays of the file): raises an error unless they are what they should be
Check = Callable[[Arrays, Collection[str]], None]
logger = logging.getLogger(__name__)

PNG = b"\x89PNG\r\n\x1a\n"


class LostShard(UserError):
    """A shard that was finished is missing or damaged; its damaged file was removed, so the shard is computed again.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        super().__init__(f"a finished shard was lost, {path}; run the same command again to make it anew")
        self.path = str(path)

    def __reduce__(self) -> tuple[type[LostShard], tuple[Path]]:
        return LostShard, (Path(self.path),)  # worker processes send it


def folder_safe(part: str) -> str:
    """Return a part of a folder's name with "-" for characters that some file systems refuse."""
    return re.sub(r"[^A-Za-z0-9@=,.+-]+", "-", part)


def cut_name(name: str, most: int) -> str:
    """Return a name for a folder; of one that is too long the end is replaced by a few digits of its hash.

    >>> cut_name("a" * 20, 20), cut_name("a" * 21, 20)
    ('aaaaaaaaaaaaaaaaaaaa', 'aaaaaaaaaaa-7df8e299')
    """
    if len(name) <= most:
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{name[: most - 9]}-{digits}"


class Store:
    """Arrays and pictures in files under `<out>/store`, by kind ("ids", "scores", ...) and key.

    Args:
        out: the folder of results; the store is made in it if need be, and what killed writers left there is removed.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, out: Path):
        self.root = out / "store"
        with disk_errors(out):
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise UserError(f"cannot write to {self.root}; choose another `out`")
        _tidy_store(os.getpid(), self.root)

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def has(self, kind: str, key: str, names: Sequence[str] | None = (), check: Check | None = None) -> bool:
        """Return whether there is such a file; of its arrays only those named are read, all for None."""
        return self.get(kind, key, names, check) is not None

    def need(self, kind: str, key: str, names: Sequence[str] | None = None, check: Check | None = None) -> Arrays:
        """Return the arrays of a shard that was finished before.

        Args:
            kind, key: where they lie.
            names: the arrays to read, all if None; the first must be one that every shard of this kind has.
            check: as for `get`.

        Raises:
            LostShard: the file is missing or damaged.
        """
        arrays = self.get(kind, key, names, check)
        if arrays is None or (names and names[0] not in arrays):  # the file's table of contents may be damaged
            raise self.lost(kind, key)
        return arrays

    def get(self, kind: str, key: str, names: Sequence[str] | None = None, check: Check | None = None) -> Arrays | None:
        """Return the arrays of a file, or only those named; None if there is no such file.

        Args:
            kind, key: where they lie.
            names: the arrays to read, all if None; those that the file does not have are left out.
            check: says whether they are what they should be, see `Check`. A file that is not, as one that is damaged,
                is removed with a warning and counts as missing.
        """
        path = self._path(kind, key, ".npz")
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files if names is None or name in names}
                if check is not None:
                    check(arrays, stored.files)
            return arrays
        except OSError as error:
            if error.errno != errno.EINVAL:  # what a damaged table of contents gives: an offset before the file
                raise
        except MemoryError:
            raise
        except Exception as error:  # a file with any content may be met, and reading that has no common error
            logger.debug("%s: %r", path, error)
        logger.warning("%s is damaged or of another version: it is made again", path)
        path.unlink(missing_ok=True)
        return None

    def lost(self, kind: str, key: str) -> LostShard:
        """Remove the file of a shard that does not fit the others, and return the error that has it made again."""
        path = self._path(kind, key, ".npz")
        path.unlink(missing_ok=True)
        return LostShard(path)

    def discard(self, kind: str, key: str) -> None:
        """Remove a file that nobody will ask for again, and the folders up to that of the results that it leaves empty.

        Args:
            kind, key: where it lies; it may be missing.
        """
        path = self._path(kind, key, ".npz")
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent, self.root, self.root.parent):
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()

    def put(self, kind: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays; raise DiskError if the disk is full or cannot be written to."""
        path = self._path(kind, key, ".npz")
        with disk_errors(self.root), replacing(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **arrays)

    def picture(self, key: str) -> Path:
        """Return where the picture of a key lies, whether it is there or not."""
        return self._path("pictures", key, ".png")

    def has_picture(self, key: str) -> bool:
        """Return whether there is a picture of a key and it is what was stored.

        One that is not, as far as its own checksums tell, is removed with a warning. So is one that has a second name:
        earlier versions gave published pictures the same file, and whoever edited those changed the stored ones too.
        """
        path = self.picture(key)
        try:
            stat = path.stat()
        except OSError:
            return False
        if stat.st_nlink == 1 and _is_whole(path, stat.st_size, stat.st_mtime_ns):
            return True
        logger.warning("%s is damaged or may have been edited: it is made again", path)
        path.unlink(missing_ok=True)
        return False

    def put_picture(self, key: str, data: bytes) -> None:
        """Write a picture, the bytes of a PNG file."""
        with disk_errors(self.root):
            write_atomically(self.picture(key), data)

    def publish(self, key: str, path: Path) -> None:
        """Copy a stored picture to a path, unless the same bytes lie there; what is done to the copy is of no matter.

        Raises:
            LostShard: there is no such picture, or it is damaged.
        """
        source = self.picture(key)
        if not self.has_picture(key):
            raise LostShard(source)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == source.stat().st_size and path.read_bytes() == source.read_bytes():
                return
        copy_atomically(source, path)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let other processes that want to do the same thing, of this name, wait until the `with` block has ended."""
        from filelock import FileLock

        folder = self.root / "locks"
        with disk_errors(self.root):
            folder.mkdir(exist_ok=True)
        lock = FileLock(folder / f"{folder_safe(name)[-100:]}.lock")
        try:
            lock.acquire()
        except (OSError, NotImplementedError):  # some file systems have no locks: then as well as it goes without
            logger.debug("no lock for %s in %s", name, folder)
        try:
            yield
        finally:
            lock.release()


@lru_cache
def _tidy_store(_process: int, root: Path) -> None:
    """Remove what killed writers left in a store, once in each process."""
    for folder in root.glob("*/*"):
        if folder.is_dir():
            tidy(folder)


@lru_cache(maxsize=1 << 17)
def _is_whole(path: Path, _size: int, _mtime: int) -> bool:
    """Return whether a file is a whole PNG file; size and time of change are arguments so that it is read again."""
    return is_whole_png(path.read_bytes())


def is_whole_png(data: bytes) -> bool:
    """Return whether bytes are those of a PNG file from its signature to its end, each chunk with its checksum."""
    if not data.startswith(PNG) or data[12:16] != b"IHDR":
        return False
    at, view = len(PNG), memoryview(data)
    while at + 12 <= len(data):  # length, type, content, checksum
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return False
        if view[at + 4 : at + 8] == b"IEND":
            return end == len(data)
        at = end
    return False


class FeatureBlocks(Sequence[np.ndarray]):
    """One array of many shards as a sequence of blocks, so that memory holds only one block at a time.

    A block is read from the store at each access: the rows of `GROUP` shards, one after the other. An array (n, N, D)
    with several rows of each image gives them image after image; rows of nan, which fill up images of fewer rows, are
    left out.

    Args:
        store: the store.
        kind, keys: where the shards lie.
        name: the array's name in each of them.
        rows: for each shard the indices of the images that count, or None for all.
    """

    GROUP = 64  # number of shards in a block

    def __init__(self, store: Store, kind: str, keys: Sequence[str], name: str, rows: Sequence[np.ndarray | None]):
        self.store, self.kind, self.keys, self.name, self.rows = store, kind, keys, name, rows
        self._width: int | None = None  # of the rows of all shards

    def __len__(self) -> int:
        return -(-len(self.keys) // self.GROUP)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return np.concatenate([flat_rows(self._shard(i)) for i in self._members(index)])

    def _members(self, index: int) -> range:
        """Return the numbers of the shards of a block."""
        return range(index * self.GROUP, min((index + 1) * self.GROUP, len(self.keys)))

    def rows_of_images(self) -> np.ndarray:
        """Return how many rows each image has, (images,), in the order of the blocks."""
        counts = [counted_rows(self._shard(i)) for index in range(len(self)) for i in self._members(index)]
        return np.concatenate(counts) if counts else np.zeros(0, np.int64)

    def _shard(self, i: int) -> np.ndarray:
        """Return of a shard what counts, (n, D) or (n, N, D); raise LostShard if it is unlike the others."""
        array = self.store.need(self.kind, self.keys[i], [self.name], self._check)[self.name]
        self._width = self._width or array.shape[-1]
        rows = self.rows[i]
        if array.shape[-1] != self._width or (rows is not None and len(rows) and int(rows.max()) >= len(array)):
            self.store.lost(self.kind, self.keys[0])  # which of the two is the wrong one cannot be told
            raise self.store.lost(self.kind, self.keys[i])
        return array if rows is None else array[rows]

    def _check(self, arrays: Arrays, _names: Collection[str]) -> None:
        if arrays[self.name].ndim not in (2, 3) or arrays[self.name].dtype.kind not in "fiu":
            raise ValueError(f"{self.name} is no table of numbers")


def flat_rows(array: np.ndarray) -> np.ndarray:
    """Return features (n, D), or (n, N, D) with several rows an image, as rows (m, D) without those of nan."""
    if array.ndim == 2:
        return array
    return array[~np.isnan(array).all(-1)]


def counted_rows(array: np.ndarray) -> np.ndarray:
    """Return how many rows `flat_rows` gives of each image, (n,) int64."""
    if array.ndim == 2:
        return np.ones(len(array), np.int64)
    return (~np.isnan(array).all(-1)).sum(1)
