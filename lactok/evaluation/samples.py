"""Samples: one image of a data set each, in a file or in an archive, and fixed random choices of them."""

from __future__ import annotations

import hashlib
import heapq
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from lactok.errors import MissingFile, at_least
from lactok.evaluation.members import Member
from lactok.evaluation.protocol import digest
from lactok.images import UnreadableImage, open_photograph, size_of


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        id: a name that is unique in the data set and the same on every machine.
        path: the image file, or the archive that the image is in.
        caption: the image's caption, or None.
        window: the part of the photograph that is the sample, (left, top, width, height) in pixels of the
            photograph as it is opened; None for all of it.
        metadata: the prompt of a generated picture, as JSON; else "".
        member: where in the archive `path` the image is; None for an image file.
        text: the text that the image shows, for metrics that read it; None where nobody knows it.
    """

    id: str
    path: Path
    caption: str | None = None
    window: tuple[int, int, int, int] | None = None
    metadata: str = ""
    member: Member | None = None
    text: str | None = None

    @property
    def sha256(self) -> str:
        """The hash of the image's digest and the window; the same whether the image is a file or in an archive."""
        return digest([self.content_sha256, self.window])

    @property
    def content_sha256(self) -> str:
        """The digest of the bytes of the encoded image."""
        return file_sha256(self.path, self.member)

    def open(self, upright: bool = True) -> Image.Image:
        """Open the photograph, or its window, as 8-bit RGB; raise UnreadableImage if that cannot be done.

        Args:
            upright: whether the photograph is turned as its EXIF orientation says.
        """
        image = open_photograph(self._file(), upright)
        if self.window is None:
            return image
        left, top, width, height = self.window
        if left + width > image.width or top + height > image.height:
            raise UnreadableImage(f"window {self.window} lies outside {image.width}x{image.height}")
        return image.crop((left, top, left + width, top + height))

    def size(self, upright: bool = True) -> tuple[int, int] | None:
        """Return the photograph's width and height without decoding it; None where that cannot be done.

        Args:
            upright: whether the photograph is turned as its EXIF orientation says.
        """
        try:
            return size_of(self._file(), upright)
        except (UnreadableImage, OSError):
            return None

    def _file(self) -> Path | io.BytesIO:
        """Return what Pillow opens; raise UnreadableImage if the archive is damaged or not there any more."""
        if self.member is None:
            return self.path
        try:
            return io.BytesIO(self.member.read(self.path))
        except OSError as error:
            raise UnreadableImage(f"its archive cannot be read ({error.strerror})") from error


def file_sha256(path: Path, member: Member | None = None) -> str:
    """Return the digest of a file, or of a member of an archive; raise MissingFile if it cannot be read."""
    try:
        stat = path.stat()
        return _hashed(path, member, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}") from error


@cache
def _hashed(path: Path, member: Member | None, _size: int, _mtime: int) -> str:
    """Hash a file; it is done once, since every key asks for it, unless size or time of change are others."""
    if member is None:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    try:
        return hashlib.sha256(member.read(path)).hexdigest()
    except UnreadableImage:  # such a sample is left out, as an image file that cannot be read is
        return hashlib.sha256(f"unreadable {member}".encode()).hexdigest()


def limited(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    """Return a fixed random choice of samples, see `Dataset.limited`; raise WrongValue for a limit below 1."""
    by_id = {sample.id: sample for sample in samples}
    ids = limited_ids(list(by_id), limit)
    return samples if len(ids) == len(samples) else tuple(by_id[i] for i in sorted(ids))


def limited_ids(ids: list[str], limit: int | None) -> list[str]:
    """Return the `limit` ids that have the lowest hashes, or all as they are, see `Dataset.limited`.

    Raises:
        WrongValue: the limit is below 1.
    """
    at_least("limit", limit, 1)
    if limit is None or limit >= len(ids):
        return ids
    return heapq.nsmallest(limit, ids, key=lambda i: hashlib.sha256(i.encode()).digest())


def limited_numbers(numbers: int | Sequence[int], limit: int | None) -> list[int]:
    """Return a fixed random choice of `limit` of some numbers, in order; all for None.

    It is the choice of `Dataset.limited` for prompts that are known by their numbers.

    Args:
        numbers: the numbers in order; an integer n stands for 0 ... n - 1.
        limit: how many are chosen.
    """
    every = range(numbers) if isinstance(numbers, int) else numbers
    if limit is None or limit >= len(every):
        return list(every)
    by_hash = sorted(every, key=lambda number: hashlib.sha256(f"{number:05}".encode()).digest())
    return sorted(by_hash[:limit])
