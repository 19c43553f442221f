"""Shards on disk under the hash of everything that made them; written whole or not at all."""

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
    """A shard that was finished is missing or damaged; nothing of it is left, so it is made again."""

    def __init__(self, path: Path):
        super().__init__(f"a finished shard was lost, {path}; run the same command again to make it anew")
        self.path = str(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def folder_safe(part: str) -> str:
    """A part of a folder's name without the characters that some file systems refuse."""
    return re.sub(r"[^A-Za-z0-9@=,.+-]+", "-", part)


class Store:
    """Arrays and pictures by kind and key, under `<out>/store`."""

    def __init__(self, out: Path):
        self.root = out / "store"
        with disk_errors(out):
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise UserError(f"cannot write to {self.root}; choose another `out`")

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def has(self, kind: str, key: str) -> bool:
        """Whether it is there and whole as far as its table of contents tells."""
        return self.get(kind, key, ()) is not None

    def need(self, kind: str, key: str, names: Sequence[str] | None = None) -> Arrays:
        """`get` for a shard that was finished before.

        Args:
            names: the first is of an array that every such shard has.

        Raises:
            LostShard: it was lost since, or is damaged.
        """
        arrays = self.get(kind, key, names)
        path = self._path(kind, key, ".npz")
        if arrays is not None and names and names[0] not in arrays:  # its table of contents is damaged
            path.unlink(missing_ok=True)
            arrays = None
        if arrays is None:
            raise LostShard(path)
        return arrays

    def get(self, kind: str, key: str, names: Sequence[str] | None = None) -> Arrays | None:
        """The arrays, or only those named; None if absent. A damaged file is reported and counts as absent."""
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
        return self._path("pictures", key, ".png")

    def put_picture(self, key: str, data: bytes) -> None:
        with disk_errors(self.root):
            write_atomically(self.picture(key), data)

    def publish(self, key: str, path: Path) -> None:
        """A stored picture under another name too: a second link to the same bytes, a copy where there are no links."""
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
    """One array of many shards, read again at every access, so that memory holds a few shards at a time."""

    GROUP = 64  # shards at a time

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
