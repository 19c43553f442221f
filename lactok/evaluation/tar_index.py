"""Webdataset shards: which files a name or pattern stands for, and the index of a tar's headers.

Shards are plain tar files (https://github.com/webdataset/webdataset). Members whose names are equal up to the first dot
of the basename belong to one sample. Its image is the member that ends in .jpg, .png or any other of `EXTENSIONS`, the
one with the shortest ending if there are several. Training and evaluation read shards by this index.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lactok.errors import UserError
from lactok.files import is_file, is_folder
from lactok.images import EXTENSIONS
from lactok.outside_text import shown

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
        twice: the first name that two images have, of which the earlier one is listed; empty if there is none.
        others: the number of images that are not listed, since another one of their sample is.
    """

    members: tuple[Member, ...]
    fault: str = ""
    twice: str = ""
    others: int = 0


def shards_of(data: str) -> list[Path] | None:
    """Return the shards that a recipe's `data` names, or None if it names a folder.

    Args:
        data: a tar file, a glob, or a brace pattern such as `train-{000..099}.tar`.

    Raises:
        UserError: there is no file of that name or pattern, or a shard is compressed.
    """
    is_tar = data.endswith((".tar", *COMPRESSED))
    if not (is_tar or is_pattern(data)) or is_folder(Path(data)):
        return None
    found = matching(data, "data")
    refuse_compressed(found)
    return found


def is_pattern(name: str) -> bool:
    """Return whether a name stands for several files: whether it has an asterisk, a question mark or a brace."""
    return any(character in name for character in "*?{")


def matching(pattern: str, argument: str) -> list[Path]:
    """Return the files that a name, a glob or a brace pattern stands for, each once.

    A file that has the pattern itself for a name, such as `photos [1].tar`, is meant before others.

    Args:
        pattern: such as `train-{000..099}.tar` or `val-*.parquet`.
        argument: the argument that names it, for the message.

    Raises:
        UserError: there is no file of one of the names.
    """
    found: list[Path] = []
    whole = os.path.expanduser(pattern)
    for name in [whole] if is_file(Path(whole)) else expand(whole):
        matches = [name]
        if any(character in name for character in "*?[") and not is_file(Path(name)):
            matches = sorted(glob.glob(name, recursive=True))
        if not matches or not is_file(Path(matches[0])):
            of = f", of {shown(pattern, 200)}" if name != pattern else ""
            raise UserError(f"{argument}: no shard {shown(name, 200)}{of}")
        found += [Path(m) for m in matches]
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
    fault, twice = "", ""
    try:
        with tarfile.open(path, "r:") as tar:
            try:
                for header in tar:
                    if header.offset_data + header.size <= size and _add_image(images, header, endings):
                        twice = twice or header.name
                    tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header in memory
            except tarfile.ReadError:
                fault = "cut short, what is whole is used"
            if not fault and not _is_end_mark(path, tar.offset):
                fault = "cut short or damaged (no end mark), what is whole is used"
    except tarfile.ReadError as error:
        fault = f"not a tar file ({error})"
    members = tuple(image.member for image in images.values())
    return Index(members, fault, twice, sum(image.others for image in images.values()))


class _SampleImage(NamedTuple):
    """The image of a sample, the length of its name's ending, and the number of the sample's other images."""

    ending: int
    member: Member
    others: int = 0


def _add_image(images: dict[str, _SampleImage], header: tarfile.TarInfo, endings: tuple[str, ...]) -> bool:
    """Add a tar's member to `images`, by the key of its sample, if it has the shortest of the `endings` so far.

    Returns:
        Whether there is a member of the very same name already, which stays.
    """
    match = _SAMPLE.fullmatch(header.name)
    if match is None or not header.isreg() or header.sparse is not None:
        return False
    if not header.name.lower().endswith(endings):
        return False
    key, ending = match[1], len(match[2])
    known = images.get(key)
    others = known.others + 1 if known else 0
    if known is None or ending < known.ending:
        images[key] = _SampleImage(ending, Member(header.name, header.offset_data, header.size), others)
        return False
    images[key] = known._replace(others=others)
    return known.member.name == header.name


def _is_end_mark(path: Path, offset: int) -> bool:
    """Return whether the block of the file at an offset consists of the zeros that end a tar."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK) == bytes(_BLOCK)
