"""The store of finished shards: files under the hash of all that they depend on, written whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lactok.errors import UserError, disk_errors

Arrays = dict[str, np.ndarray]
logger = logging.getLogger(__name__)


class LostShard(UserError):
    """A shard that was finished is missing or damaged; its damaged file was removed, so the shard is computed again.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        super().__init__(f"a finished shard was lost, {path}; run the same command again to make it anew")
        self.path = str(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers see either the old content or the whole new one; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def folder_safe(part: str) -> str:
    """Return a part of a folder's name with "-" for characters that some file systems refuse."""
    return re.sub(r"[^A-Za-z0-9@=,.+-]+", "-", part)


class Store:
    """Arrays and pictures in files under `<out>/store`, by kind ("ids", "scores", ...) and key.

    Args:
        out: the folder of results; the store is made in it if need be.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, out: Path):
        self.root = out / "store"
        with disk_errors(out):
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise UserError(f"cannot write to {self.root}; choose another `out`")

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is such a file and its table of contents can be read; the arrays are not read."""
        return self.get(kind, key, ()) is not None

    def need(self, kind: str, key: str, names: Sequence[str] | None = None) -> Arrays:
        """Return the arrays of a shard that was finished before.

        Args:
            kind, key: where they lie.
            names: the arrays to read, all if None; the first must be one that every shard of this kind has.

        Raises:
            LostShard: the file is missing or damaged.
        """
        arrays = self.get(kind, key, names)
        path = self._path(kind, key, ".npz")
        if arrays is not None and names and names[0] not in arrays:  # the file's table of contents is damaged
            path.unlink(missing_ok=True)
            arrays = None
        if arrays is None:
            raise LostShard(path)
        return arrays

    def get(self, kind: str, key: str, names: Sequence[str] | None = None) -> Arrays | None:
        """Return the arrays of a file, or only those named; None if there is no such file.

        A damaged file is removed with a warning, and counts as missing.
        """
        path = self._path(kind, key, ".npz")
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files if names is None or name in names}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
            logger.warning("%s is damaged: it is made again", path)
            path.unlink(missing_ok=True)
            return None

    def put(self, kind: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays; raise DiskError if the disk is full or cannot be written to."""
        path = self._path(kind, key, ".npz")
        temporary = path.with_name(f".{key}.{os.getpid()}.part")
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as handle:
                    np.savez(handle, allow_pickle=False, **arrays)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def picture(self, key: str) -> Path:
        """Return where the picture of a key lies, whether it is there or not."""
        return self._path("pictures", key, ".png")

    def put_picture(self, key: str, data: bytes) -> None:
        """Write a picture, the bytes of a PNG file."""
        with disk_errors(self.root):
            write_atomically(self.picture(key), data)

    def publish(self, key: str, path: Path) -> None:
        """Give a stored picture a second path: a hard link to the same bytes, or a copy where links are impossible."""
        source = self.picture(key)
        if path.exists() and path.samefile(source):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        temporary.unlink(missing_ok=True)
        try:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class FeatureBlocks(Sequence[np.ndarray]):
    """One array of many shards as a sequence of blocks, so that memory holds only one block at a time.

    A block is read from the store at each access: the rows of `GROUP` shards, one after the other.

    Args:
        store: the store.
        kind, keys: where the shards lie.
        name: the array's name in each of them.
        rows: for each shard the indices of the rows that count, or None for all.
    """

    GROUP = 64  # number of shards in a block

    def __init__(self, store: Store, kind: str, keys: Sequence[str], name: str, rows: Sequence[np.ndarray | None]):
        self.store, self.kind, self.keys, self.name, self.rows = store, kind, keys, name, rows

    def __len__(self) -> int:
        return -(-len(self.keys) // self.GROUP)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self):
            raise IndexError(index)
        blocks = []
        for i in range(index * self.GROUP, min((index + 1) * self.GROUP, len(self.keys))):
            array = self.store.need(self.kind, self.keys[i], [self.name])[self.name]
            rows = self.rows[i]
            blocks.append(array if rows is None else array[rows])
        return np.concatenate(blocks)
