"""Training images in webdataset shards, read in random order by an index of every tar's headers.

Shards are plain tar files (https://github.com/webdataset/webdataset). Members whose names are equal up to the first dot
of the basename belong to one sample. Its image is the member that ends in .jpg, .png or any other of `EXTENSIONS`, the
one with the shortest ending if there are several; captions and other members are ignored.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lactok.errors import UserError
from lactok.files import is_file, is_folder, replacing
from lactok.images import EXTENSIONS
from lactok.training.columns import Texts

MOST_SHARDS = 100_000  # names that a pattern may stand for

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_COMPRESSED_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # first bytes of gzip, bzip2, xz and zstd
_SAMPLE = re.compile(r"((?:.*/)?[^./][^/.]*)\.([^/]*)")  # groups: the sample's key and the member's ending
_BLOCK = 512  # bytes of a block of a tar file


class Member(NamedTuple):
    """An image in a shard.

    Attributes:
        name: name of the tar's member.
        offset: position of its first byte in the tar.
        size: number of its bytes.
    """

    name: str
    offset: int
    size: int


class Index(NamedTuple):
    """The images of a shard.

    Attributes:
        members: the images that are complete.
        fault: how the shard is damaged; empty if it is not.
    """

    members: tuple[Member, ...]
    fault: str = ""


def shards_of(data: str) -> list[Path] | None:
    """Return the shards that a recipe's `data` names, or None if it names a folder.

    Args:
        data: a tar file, a glob, or a brace pattern such as `train-{000..099}.tar`.

    Raises:
        UserError: there is no file of that name or pattern, or a shard is compressed.
    """
    is_tar = data.endswith((".tar", *COMPRESSED))
    is_pattern = any(character in data for character in "*?{")
    if not (is_tar or is_pattern) or is_folder(Path(data)):
        return None
    found: list[Path] = []
    for name in expand(os.path.expanduser(data)):
        matches = [name]
        if any(character in name for character in "*?["):
            matches = sorted(glob.glob(name, recursive=True))
        if not matches or not is_file(Path(matches[0])):
            raise UserError(f"data: no shard {name}" + (f", of {data}" if name != data else ""))
        found += [Path(m) for m in matches]
    refuse_compressed(found)
    return list(dict.fromkeys(found))


def refuse_compressed(paths: Iterable[Path]) -> None:
    """Raise UserError if one of the tar files is compressed, since such a file cannot be read from the middle."""
    for path in paths:
        with path.open("rb") as file:
            compressed = path.name.endswith(COMPRESSED) or file.read(8).startswith(_COMPRESSED_STARTS)
        if compressed:
            raise UserError(f"{path} is compressed, and shards are read at random: unpack it to a plain .tar first")


def expand(pattern: str) -> list[str]:
    """Expand the braces of a pattern as a shell does: lists and ranges of numbers.

    >>> expand("s-{08..11}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar', 's-11.tar']
    >>> expand("{a,b}/{0..1}.tar")
    ['a/0.tar', 'a/1.tar', 'b/0.tar', 'b/1.tar']

    Raises:
        UserError: the pattern stands for more than `MOST_SHARDS` names.
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    too_many = UserError(f"{pattern[:80]} stands for more than {MOST_SHARDS} shards; name fewer at a time")
    numbers = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", match[1])
    if numbers:
        first, last = numbers[1], numbers[2]
        if int(last) - int(first) >= MOST_SHARDS:
            raise too_many
        choices = [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    else:
        choices = match[1].split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    expanded = []
    for choice in choices:
        expanded += expand(f"{before}{choice}{after}")  # the rest may have further braces
        if len(expanded) > MOST_SHARDS:
            raise too_many
    return expanded


def sample_of(name: str) -> str | None:
    """Return the key of the sample that a member of this name belongs to; None for a name that has no ending.

    >>> sample_of("0/cat.big.jpg"), sample_of("0/.hidden")
    ('0/cat', None)
    """
    match = _SAMPLE.fullmatch(name)
    return match[1] if match else None


def index(path: Path, endings: tuple[str, ...] = EXTENSIONS) -> Index:
    """Read the headers of a shard; of a damaged shard the complete members are listed, and its fault is stated.

    Args:
        path: the shard.
        endings: what the members' names end in, those of images or others; a sample has one of them.
    """
    size = path.stat().st_size
    images: dict[str, _SampleImage] = {}
    fault = ""
    try:
        with tarfile.open(path, "r:") as tar:
            try:
                for header in tar:
                    if header.offset_data + header.size <= size:
                        _add_image(images, header, endings)
                    tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header in memory
            except tarfile.ReadError:
                fault = "cut short, what is whole is used"
            if not fault and not _is_end_mark(path, tar.offset):
                fault = "cut short or damaged (no end mark), what is whole is used"
    except tarfile.ReadError as error:
        fault = f"not a tar file ({error})"
    return Index(tuple(image.member for image in images.values()), fault)


class _SampleImage(NamedTuple):
    """The image of a sample, and the length of its name's ending."""

    ending: int
    member: Member


def _add_image(images: dict[str, _SampleImage], header: tarfile.TarInfo, endings: tuple[str, ...]) -> None:
    """Add a tar's member to `images`, by the key of its sample, if it has the shortest of the `endings` so far."""
    match = _SAMPLE.fullmatch(header.name)
    if match is None or not header.isreg() or header.sparse is not None:
        return
    if not header.name.lower().endswith(endings):
        return
    key, ending = match[1], len(match[2])
    if key not in images or ending < images[key].ending:
        images[key] = _SampleImage(ending, Member(header.name, header.offset_data, header.size))


def _is_end_mark(path: Path, offset: int) -> bool:
    """Return whether the block of the file at an offset consists of the zeros that end a tar."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK) == bytes(_BLOCK)


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
