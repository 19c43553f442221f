"""Training pictures in webdataset shards, read at random: an index of every tar's headers instead of a stream.

The layout (https://github.com/webdataset/webdataset): plain tar files in which members of one basename, up to its first
dot, are one sample. A sample's picture is its member ending in .jpg, .png or any of `EXTENSIONS`, the one with the
shortest ending where there are several; captions and other members are passed over.
"""

from __future__ import annotations

import glob
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lactok.errors import UserError
from lactok.images import EXTENSIONS

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_SAMPLE = re.compile(r"((?:.*/)?[^./][^/.]*)\.([^/]*)")  # webdataset's key and ending
_BLOCK = 512


class Member(NamedTuple):
    """A picture in a shard: its name there, and where its bytes are."""

    name: str
    offset: int
    size: int


class Index(NamedTuple):
    """A shard's pictures; `fault` says how it is damaged, what is listed is whole."""

    members: tuple[Member, ...]
    fault: str = ""


def shards_of(data: str) -> list[Path] | None:
    """The shards that `data` names: one tar, a glob or a brace pattern (`train-{000..099}.tar`); None for a folder.

    Raises:
        UserError: no file of that name or pattern, or a compressed tar.
    """
    if not (data.endswith((".tar", *COMPRESSED)) or any(c in data for c in "*?{")) or Path(data).is_dir():
        return None
    found: list[Path] = []
    for name in expand(os.path.expanduser(data)):
        matches = sorted(glob.glob(name, recursive=True)) if any(c in name for c in "*?[") else [name]
        if not matches or not Path(matches[0]).is_file():
            raise UserError(f"data: no shard {name}" + (f", of {data}" if name != data else ""))
        found += [Path(m) for m in matches]
    refuse_compressed(found)
    return list(dict.fromkeys(found))


def refuse_compressed(paths: Iterable[Path]) -> None:
    """A compressed tar cannot be read from the middle.

    Raises:
        UserError: one of the files is compressed.
    """
    for path in paths:
        with path.open("rb") as file:
            compressed = path.name.endswith(COMPRESSED) or file.read(8).startswith(_MAGIC)
        if compressed:
            raise UserError(f"{path} is compressed, and shards are read at random: unpack it to a plain .tar first")


def expand(pattern: str) -> list[str]:
    """Braces as a shell expands them.

    >>> expand("s-{08..11}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar', 's-11.tar']
    >>> expand("{a,b}/{0..1}.tar")
    ['a/0.tar', 'a/1.tar', 'b/0.tar', 'b/1.tar']
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    if span := re.fullmatch(r"(\d+)\.\.(\d+)", match[1]):
        first, last = span[1], span[2]
        choices = [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    else:
        choices = match[1].split(",")
    return [whole for c in choices for whole in expand(f"{pattern[: match.start()]}{c}{pattern[match.end() :]}")]


def index(path: Path) -> Index:
    """Read a shard's headers. A shard that is cut short gives what is whole, and says so."""
    size = path.stat().st_size
    best: dict[str, tuple[int, Member]] = {}
    fault = ""
    try:
        with tarfile.open(path, "r:") as tar:
            try:
                for info in tar:
                    if not (match := _SAMPLE.fullmatch(info.name)) or not info.isreg() or info.sparse is not None:
                        continue
                    whole = info.offset_data + info.size <= size
                    if whole and info.name.lower().endswith(EXTENSIONS):
                        rank = len(match[2])
                        if match[1] not in best or rank < best[match[1]][0]:
                            best[match[1]] = rank, Member(info.name, info.offset_data, info.size)
                    tar.members = []  # type: ignore[attr-defined]  # it would keep every header
            except tarfile.ReadError:
                fault = "cut short, what is whole is used"
            if not fault and not _ends_at(path, tar.offset):
                fault = "cut short or damaged (no end mark), what is whole is used"
    except tarfile.ReadError as error:
        fault = f"not a tar file ({error})"
    return Index(tuple(member for _, member in best.values()), fault)


def _ends_at(path: Path, offset: int) -> bool:
    """Is the block there the zeros that end a tar?"""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK) == bytes(_BLOCK)


def indices(
    paths: Iterable[Path], cache: Path | None = None, damaged: Callable[[Path, str], None] = lambda *_: None
) -> dict[Path, Index]:
    """The index of every shard, from `cache` where the shard's size and time of change are as they were.

    Args:
        cache: a JSON file, written anew where a shard is new or changed.
        damaged: called with every damaged shard and its fault.
    """
    known = _read(cache) if cache is not None else {}
    found: dict[Path, Index] = {}
    rows: dict[str, Any] = {}
    for path in paths:
        stat = path.stat()
        row = known.get(key := str(path.resolve()), {})
        if (row.get("size"), row.get("changed")) == (stat.st_size, stat.st_mtime_ns):
            found[path] = Index(tuple(Member(*m) for m in row["members"]), row["fault"])
        else:
            found[path] = index(path)
            row = {"size": stat.st_size, "changed": stat.st_mtime_ns, **found[path]._asdict()}
        rows[key] = row
        if found[path].fault:
            damaged(path, found[path].fault)
    if cache is not None and rows != known:
        temporary = cache.with_suffix(f".{os.getpid()}.part")
        temporary.write_text(json.dumps(rows))
        os.replace(temporary, cache)
    return found


def _read(cache: Path) -> Mapping[str, Any]:
    """An index that cannot be read is made anew."""
    try:
        rows = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return rows if isinstance(rows, dict) else {}
