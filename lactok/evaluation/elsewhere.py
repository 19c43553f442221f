"""Work on a machine that does not see the folder of results: a shard's files are fetched from it and sent to it.

Such a machine has a mirror, a folder of its own that holds what the shard at hand needs of the folder of results. A
file is fetched when the work looks for it, and sent as soon as it is written, whole or not at all. So what is finished
is kept, however the machine ends.

Work and shards travel as bytes, made by `packed` and read by `unpacked`. Only stores and samples know paths. Both come
out with the paths that hold where they are read.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lactok.errors import MissingFile, disk_errors
from lactok.evaluation.datasets import Sample
from lactok.evaluation.store import Arrays, Check, LostShard, Store
from lactok.files import write_atomically
from lactok.outside_text import shown


class Keeper(Protocol):
    """Reads, writes and removes files of the folder of results; `name` is a path in it."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if it is not there."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""


class FolderKeeper:
    """A keeper where the folder of results is seen.

    Args:
        out: the folder of results.
    """

    def __init__(self, out: str):
        self.out = Path(out)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.out / name).read_bytes()
        return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file; raise DiskError if the disk is full or cannot be written to."""
        with disk_errors(self.out):
            write_atomically(self.out / name, data)

    def remove(self, name: str) -> None:
        (self.out / name).unlink(missing_ok=True)


class Mirror:
    """What a process has of a folder of results that its machine does not see.

    Args:
        out: the folder of results, where it is seen.
        keeper: reads and writes there.
        folder: a folder of this machine, which is this mirror's alone.
    """

    def __init__(self, out: Path, keeper: Keeper, folder: Path):
        self.out, self.keeper, self.folder = out, keeper, folder
        self._asked: set[Path] = set()  # files that were fetched, or are not there
        self._pictures: dict[Path, str] = {}  # samples that lie in the folder of results: path -> digest, "" for none

    def has(self, path: Path) -> bool:
        """Return whether a path lies in the folder of results."""
        return path.is_relative_to(self.out)

    def here(self, path: Path) -> Path:
        """Return where a file of the folder of results lies in the mirror."""
        return self.folder / path.relative_to(self.out)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def fetch(self, path: Path) -> None:
        """Bring a file of the mirror here, unless it is here; once for each shard."""
        if path in self._asked or path.exists():
            return
        self._asked.add(path)
        data = self.keeper.read(self._name(path))
        if data is not None:
            with disk_errors(self.folder, "set TMPDIR there"):
                write_atomically(path, data)

    def send(self, path: Path) -> None:
        """Write a file of the mirror to the folder of results."""
        self._asked.add(path)
        self.keeper.write(self._name(path), path.read_bytes())

    def remove(self, path: Path) -> Path:
        """Remove a file of the mirror from the folder of results, and return where it was there."""
        self.keeper.remove(self._name(path))
        return self.out / self._name(path)

    def fetch_picture(self, path: Path, is_there: bool) -> None:
        """Bring a sample that lies in the folder of results here, if it is there; `send_pictures` sees it change."""
        if is_there:
            self.fetch(path)
        self._pictures[path] = _digest(path)

    def send_pictures(self) -> None:
        """Send the samples that were made or made anew since they were fetched."""
        for path, before in self._pictures.items():
            if _digest(path) not in ("", before):
                self.send(path)

    def clear(self) -> None:
        """Remove what is here; the next shard begins with an empty mirror."""
        self._asked.clear()
        self._pictures.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(path: Path) -> str:
    """Return the hash of a file, "" if it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


class MirroredStore(Store):
    """A store in a mirror: what is not here is fetched, what is written is sent.

    Args:
        out: the folder of results, where it is seen.
        mirror: its mirror on this machine.
    """

    def __init__(self, out: Path, mirror: Mirror):
        self.mirror, self.root = mirror, mirror.here(out) / "store"

    def get(self, kind: str, key: str, names: Sequence[str] | None = None, check: Check | None = None) -> Arrays | None:
        self.mirror.fetch(self._path(kind, key, ".npz"))
        return super().get(kind, key, names, check)

    def put(self, kind: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        super().put(kind, key, arrays)
        self.mirror.send(self._path(kind, key, ".npz"))

    def lost(self, kind: str, key: str) -> LostShard:
        super().lost(kind, key)
        return LostShard(self.mirror.remove(self._path(kind, key, ".npz")))

    def has_picture(self, key: str) -> bool:
        self.mirror.fetch(self.picture(key))
        return super().has_picture(key)

    def put_picture(self, key: str, data: bytes) -> None:
        super().put_picture(key, data)
        self.mirror.send(self.picture(key))


_mirrors: list[Mirror] = []  # that of this process, where it has one


def use_mirror(mirror: Mirror) -> None:
    """Let `unpacked` take the paths of the folder of results for those of a mirror, in this process from now on."""
    _mirrors[:] = [mirror]


class _Packer(pickle.Pickler):
    """Pickles stores, samples and paths with whole paths."""

    def __init__(self, file: io.BytesIO, looks: bool):
        super().__init__(file)
        self.looks = looks

    def reducer_override(self, given: Any) -> Any:
        if type(given) is Store:
            return _store, (os.path.abspath(given.root.parent),)
        if isinstance(given, Sample):
            known = {f.name: getattr(given, f.name) for f in fields(given)}
            path = os.path.abspath(given.path)
            return _sample, (type(given), known | {"path": path}, self.looks and os.path.exists(path))
        if isinstance(given, Path):
            return Path, (os.path.abspath(given),)
        return NotImplemented


def packed(given: object, looks: bool = False) -> bytes:
    """Return what `unpacked` reads.

    Args:
        given: work or a shard.
        looks: whether `unpacked` looks for the samples whose files are here, and fetches those that lie in the folder
            of results.
    """
    file = io.BytesIO()
    _Packer(file, looks).dump(given)
    return file.getvalue()


def unpacked(data: bytes) -> Any:
    """Return the work or the shard that `packed` was given.

    Raises:
        MissingFile: this machine does not see the file of a sample.
    """
    return pickle.loads(data)


def _store(out: str) -> Store:
    """Return the store of a folder of results."""
    if _mirrors and _mirrors[0].has(Path(out)):
        return MirroredStore(Path(out), _mirrors[0])
    return Store(Path(out))


def _sample(kind: type[Sample], known: dict[str, Any], was_there: bool) -> Sample:
    """Return a sample.

    Args:
        kind: its class.
        known: its attributes.
        was_there: whether its file must be here.
    """
    path = Path(known["path"])
    if _mirrors and _mirrors[0].has(path):
        path = _mirrors[0].here(path)
        _mirrors[0].fetch_picture(path, was_there)
    elif was_there and not os.path.exists(path):
        raise MissingFile(f"cannot read {shown(path, 200)}: every machine must see the images under the same path")
    return kind(**known | {"path": path})
