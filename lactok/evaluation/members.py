"""Images inside archives: where each one's bytes are, and reading them without unpacking anything.

A member is a small value that is sent to worker processes; it opens its archive anew each time, at random access.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from lactok.images import UnreadableImage

STORED, DEFLATED = 0, 8  # zip's methods of compression that are read
_LOCAL = struct.Struct("<4s22xHH")  # of a zip's local header: its mark, the lengths of the name and the extra field
_MOST_UNPACKED = 1 << 30  # bytes; a small member that unpacks to more is no photograph
DAMAGED = "its archive is damaged there"
_ONE_READS = threading.Lock()  # so that threads that want images of one group do not each read all of it


class Member(Protocol):
    """One image of an archive."""

    def read(self, archive: Path) -> bytes:
        """Return the bytes of the encoded image.

        Raises:
            UnreadableImage: the archive is damaged where the image is.
            OSError: the archive cannot be opened.
        """

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class TarMember:
    """A file in a plain tar.

    Attributes:
        offset: the position of its first byte in the tar.
        size: the number of its bytes.
        caption: the file with its caption in the same tar: position, number of bytes, ending; None if there is none.
    """

    offset: int
    size: int
    caption: tuple[int, int, str] | None = None

    def read(self, archive: Path) -> bytes:
        with archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise UnreadableImage(DAMAGED)
        return data


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip.

    Attributes:
        offset: the position of its local header in the zip.
        size: the number of its bytes as they are stored.
        unpacked: the number of its bytes when they are unpacked.
        method: how they are compressed, `STORED` or `DEFLATED`.
        crc: the checksum of the unpacked bytes.
    """

    offset: int
    size: int
    unpacked: int
    method: int
    crc: int

    def read(self, archive: Path) -> bytes:
        with archive.open("rb") as file:
            file.seek(self.offset)
            head = file.read(_LOCAL.size)
            if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
                raise UnreadableImage(DAMAGED)
            _, name, extra = _LOCAL.unpack(head)
            file.seek(name + extra, 1)
            data = file.read(self.size)
        try:
            if self.method == DEFLATED:
                data = zlib.decompressobj(-15).decompress(data, min(self.unpacked + 1, _MOST_UNPACKED))
        except zlib.error as error:
            raise UnreadableImage(DAMAGED) from error
        if len(data) != self.unpacked or zlib.crc32(data) != self.crc:
            raise UnreadableImage(DAMAGED)
        return data


@dataclass(frozen=True)
class RowMember:
    """An image in a row of a Parquet file.

    Attributes:
        group: the number of the row group.
        row: the number of the row in the group.
        column: the column of the bytes, such as "image.bytes".
    """

    group: int
    row: int
    column: str

    def read(self, archive: Path) -> bytes:
        stat = archive.stat()
        try:
            with _ONE_READS:
                rows = _rows(archive, stat.st_size, stat.st_mtime_ns, self.group, self.column)
            data = rows[self.row].as_py()
        except Exception as error:  # what pyarrow raises for damaged pages has no common class but OSError
            if isinstance(error, MemoryError):
                raise
            raise UnreadableImage(DAMAGED) from error
        if not isinstance(data, bytes):
            raise UnreadableImage("its row holds no bytes")
        return data


@lru_cache(maxsize=2)
def _rows(archive: Path, _size: int, _mtime: int, group: int, column: str) -> Any:
    """Return a column of one row group of a Parquet file, a pyarrow array; the last ones are remembered.

    Images of one group are mostly read one after the other, and a group can only be read whole.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(archive) as file:
        found = file.read_row_group(group, columns=[column], use_threads=False).column(0).combine_chunks()
    for name in column.split(".")[1:]:
        found = found.field(name)
    return found
