"""Training images in webdataset shards, read in random order by an index of every tar's headers.

`lactok.evaluation.tar_index` reads the headers; here the images of many shards are columns, kept in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lactok.evaluation.tar_index import Index, Member, index
from lactok.files import replacing
from lactok.training.columns import Texts

__all__ = ["Index", "Member", "ShardIndex", "index", "shard_index"]


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The images of many shards in columns, so that twenty million of them are no Python objects.

    Attributes:
        shards: the shards.
        faults: how each shard is damaged; empty for one that is not.
        names: names of the images, shard by shard.
        shard: number of each image's shard (N,) int32.
        offset: position of its first byte in the shard (N,) int64.
        size: number of its bytes (N,) int64.
    """

    shards: tuple[Path, ...]
    faults: tuple[str, ...]
    names: Texts
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray


class _Kept(NamedTuple):
    """The columns of one shard, as a cache holds them.

    Attributes:
        size, changed: size of the shard and its time of change in nanoseconds.
        fault: how it is damaged.
        names, offset, size_of: the images.
    """

    size: int
    changed: int
    fault: str
    names: Texts
    offset: np.ndarray
    size_of: np.ndarray


def shard_index(
    paths: Iterable[Path], cache: Path | None = None, damaged: Callable[[Path, str], None] | None = None
) -> ShardIndex:
    """Return the index of all shards; shards that have not changed are taken from a cache.

    Args:
        paths: the shards.
        cache: a file, which is rewritten if a shard is new or has another size or time of change.
        damaged: function that is called with every damaged shard and its fault.
    """
    known = _read_cache(cache) if cache is not None else {}
    found: dict[Path, _Kept] = {}
    rows: dict[str, _Kept] = {}
    for path in paths:
        stat, key = path.stat(), str(path.resolve())
        kept = known.get(key)
        if kept is None or (kept.size, kept.changed) != (stat.st_size, stat.st_mtime_ns):
            kept = _in_columns(index(path), stat.st_size, stat.st_mtime_ns)
        found[path] = rows[key] = kept
        if kept.fault and damaged is not None:
            damaged(path, kept.fault)
    if cache is not None and (rows.keys() != known.keys() or any(rows[k] is not known[k] for k in rows)):
        _write_cache(cache, rows)
    names, shard, offset, size = _joined(list(found.values()))
    return ShardIndex(tuple(found), tuple(kept.fault for kept in found.values()), names, shard, offset, size)


def _in_columns(found: Index, size: int, changed: int) -> _Kept:
    """Return the index of a shard as columns."""
    names = Texts.of(member.name for member in found.members)
    offset = np.array([member.offset for member in found.members], np.int64)
    return _Kept(size, changed, found.fault, names, offset, np.array([m.size for m in found.members], np.int64))


def _joined(kept: Sequence[_Kept]) -> tuple[Texts, np.ndarray, np.ndarray, np.ndarray]:
    """Return the names of all shards' images, the numbers of their shards, their offsets and sizes."""
    counts = [len(k.names) for k in kept]
    shard = np.repeat(np.arange(len(kept), dtype=np.int32), counts)
    empty = [np.zeros(0, np.int64)]
    offset = np.concatenate([*(k.offset for k in kept), *empty])
    return Texts.joined([k.names for k in kept]), shard, offset, np.concatenate([*(k.size_of for k in kept), *empty])


def _write_cache(cache: Path, rows: Mapping[str, _Kept]) -> None:
    """Write the columns of all shards, as numpy's archive of arrays."""
    kept = list(rows.values())
    names, shard, offset, size = _joined(kept)
    paths, faults = Texts.of(rows), Texts.of(k.fault for k in kept)
    texts = {"paths": paths, "faults": faults, "names": names}
    arrays = {f"{name}_{part}": getattr(value, part) for name, value in texts.items() for part in ("blob", "ends")}
    stats = np.array([(k.size, k.changed) for k in kept], np.int64).reshape(-1, 2)
    with replacing(cache) as temporary, temporary.open("wb") as file:
        np.savez(file, stats=stats, shard=shard, offset=offset, size=size, **arrays)
    cache.with_suffix(".json").unlink(missing_ok=True)  # what earlier versions kept


def _read_cache(cache: Path) -> dict[str, _Kept]:
    """Return the cached columns by shard; none if the file cannot be read, so that all shards are indexed again."""
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        paths, faults, names = (Texts(found[f"{n}_blob"], found[f"{n}_ends"]) for n in ("paths", "faults", "names"))
        ends = np.cumsum(np.bincount(found["shard"], minlength=len(paths)))
        rows, first = {}, 0
        for i, (path, end) in enumerate(zip(paths, ends.tolist(), strict=True)):
            size, changed = found["stats"][i].tolist()
            start = int(names.ends[first - 1]) if first else 0
            own = Texts(names.blob[start : int(names.ends[end - 1]) if end else 0], names.ends[first:end] - start)
            rows[path] = _Kept(size, changed, faults[i], own, found["offset"][first:end], found["size"][first:end])
            first = end
    except Exception:  # a damaged archive fails in many ways: zipfile's and numpy's errors have no common class
        return {}
    return rows
