"""Files of arrays (.npz) as ADM's evaluator takes them: pictures in `arr_0`, statistics of features in `mu`, `sigma`.

They may come from anybody, so nothing in them is unpickled, and shapes are looked at before anything is read.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from lactok.errors import MissingFile, WrongValue, disk_errors
from lactok.evaluation.datasets import file_sha256
from lactok.evaluation.store import Store
from lactok.files import is_file, replacing
from lactok.metrics.frechet import FEATURES, Gaussian
from lactok.outside_text import shown

PICTURES, LABELS = "arr_0", "arr_1"
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
WHEN = (1980, 1, 1, 0, 0, 0)  # of the members of files that are written, so that these have the same bytes every time


@dataclass(frozen=True)
class Header:
    """What a file says of one of its arrays.

    Attributes:
        shape: the array's shape.
        dtype: its dtype.
        in_order: whether the last axis varies fastest, as in C.
        size: the bytes of its values in the file, decompressed.
        offset: where its values begin in the file; None where they are compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_order: bool
    size: int
    offset: int | None


def headers(path: Path, argument: str) -> dict[str, Header]:
    """Return the headers of a file's arrays by name; no values are read.

    Args:
        path: the .npz file.
        argument: the argument that names it, for messages.

    Raises:
        MissingFile: there is no such file, or it cannot be opened.
        WrongValue: it is no .npz file, is damaged, or holds pickled objects.
    """
    name = f"`{argument}` {shown(path, 200)}"
    if not is_file(path):
        raise MissingFile(f"{name}: no such file")
    try:
        found = {}
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    found[member.filename.removesuffix(".npy")] = _header(archive, member, file)
    except OSError as error:
        raise MissingFile(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # a file with any content may be met, and reading that has no common error
        raise WrongValue(f"{name}: no .npz file, or a damaged one ({shown(error, 100)})") from error
    for array, header in found.items():
        if header.dtype.hasobject:
            raise WrongValue(f"{name}: {shown(array)} holds pickled objects, which are not read; store plain numbers")
    if not found:
        raise WrongValue(f"{name}: no array in it")
    return found


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: IO[bytes]) -> Header:
    """Read the header of an array; raise ValueError for one that is none."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in READ_HEADER:
            raise ValueError(f"an array of format {version}")
        shape, is_fortran, dtype = READ_HEADER[version](stream)
        length = stream.tell()
    offset = None
    if member.compress_type == zipfile.ZIP_STORED:
        file.seek(member.header_offset + 26)  # where the lengths of the member's name and extra field stand
        lengths = file.read(4)
        before = 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        offset = member.header_offset + before + length
    return Header(shape, dtype, not is_fortran, member.file_size - length, offset)


@dataclass(frozen=True)
class PictureArray:
    """The pictures of an .npz file, (N, S, S, 3) uint8; they are read where they are needed, never all of them.

    Attributes:
        path: the file, or the decompressed copy of its array.
        sha256: the digest of the .npz file.
        shape: (N, S, S, 3).
        offset: where the pictures begin in `path`.
    """

    path: Path
    sha256: str
    shape: tuple[int, int, int, int]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return the pictures of these numbers, each (S, S, 3) uint8."""
        every = np.memmap(self.path, np.uint8, "r", self.offset, self.shape)
        return [np.array(every[number]) for number in numbers]


def pictures_of(path: Path, known: Mapping[str, Header], argument: str, store: Store | None) -> PictureArray:
    """Return the pictures of a file.

    Args:
        path: the .npz file.
        known: its `headers`.
        argument: the argument that names it, for messages.
        store: where a compressed array is copied to, decompressed, once; None to look at the file's header alone.

    Raises:
        WrongValue: they are no square pictures (N, S, S, 3) uint8, or are damaged.
        DiskError: there is no space for the copy.
    """
    name = f"`{argument}` {shown(path, 200)}"
    header = known[PICTURES]
    shape = header.shape
    is_pictures = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3 and min(shape) > 0
    if is_pictures and header.dtype == np.uint8 and not header.in_order:
        raise WrongValue(f"{name}: {PICTURES} is stored in Fortran's order; store np.ascontiguousarray of it")
    if not is_pictures or header.dtype != np.uint8:
        raise WrongValue(f"{name}: {PICTURES} is {shape} {header.dtype}; pictures are (N, S, S, 3) uint8, as ADM's")
    number, side = shape[:2]
    size, sha256 = int(np.prod(shape, dtype=object)), file_sha256(path)
    if header.size != size:
        raise WrongValue(f"{name}: {PICTURES} is cut off; get the file again")
    if header.offset is not None:
        if store is not None:
            _decompress(path, Path(os.devnull), name)  # reads it once, which compares its checksum
        return PictureArray(path, sha256, (number, side, side, 3), header.offset)
    if store is None:
        return PictureArray(path, sha256, (number, side, side, 3), 0)
    copy = store.root / "arrays" / f"{sha256}.npy"
    if not is_file(copy) or copy.stat().st_size < size:
        with store.alone(sha256), disk_errors(store.root), replacing(copy) as temporary:
            _decompress(path, temporary, name)
    return PictureArray(copy, sha256, (number, side, side, 3), copy.stat().st_size - size)


def _decompress(path: Path, target: Path, name: str) -> None:
    """Copy the array of pictures, its header included, to a file of its own."""
    import shutil

    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{PICTURES}.npy") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise WrongValue(f"{name}: {PICTURES} is damaged; get the file again") from error


def statistics_of(path: Path, known: Mapping[str, Header], argument: str) -> tuple[Gaussian, int | None]:
    """Return the statistics of a file, and of how many images they are, None where it does not say.

    Args:
        path: the .npz file; `mu`, `sigma` as ADM, pytorch-fid and clean-fid store them, perhaps `n`.
        known: its `headers`.
        argument: the argument that names it, for messages.

    Raises:
        WrongValue: they are no mean and covariance of Inception's 2048 features.
    """
    name = f"`{argument}` {shown(path, 200)}"
    if "sigma" not in known or "mu" not in known:
        raise WrongValue(f"{name}: statistics are `mu` and `sigma`, and one of them is missing")
    mean, covariance = known["mu"], known["sigma"]
    for key, header in (("mu", mean), ("sigma", covariance)):
        if header.dtype.kind != "f":
            raise WrongValue(f"{name}: {key} is {header.dtype}; it holds decimal numbers")
    if len(mean.shape) != 1 or covariance.shape != mean.shape * 2:
        raise WrongValue(f"{name}: mu is {mean.shape} and sigma {covariance.shape}; they are (d,) and (d, d)")
    if mean.shape != (FEATURES,):
        raise WrongValue(
            f"{name}: statistics of {mean.shape[0]} features; those of FID's Inception have {FEATURES}, so they are "
            "of another network"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = Gaussian(stored["mu"].astype(np.float64), stored["sigma"].astype(np.float64))
            number = known.get("n")
            count = int(stored["n"]) if number and not number.shape and number.dtype.kind in "iu" else None
    except Exception as error:  # of a damaged file, any
        raise WrongValue(f"{name}: damaged ({shown(error, 100)}); get the file again") from error
    if not (np.isfinite(found.mean).all() and np.isfinite(found.covariance).all()):
        raise WrongValue(f"{name}: its numbers are not all finite; make the statistics again")
    largest = float(np.abs(found.covariance).max())
    is_symmetric = np.allclose(found.covariance, found.covariance.T, rtol=0, atol=1e-5 * largest)
    if not is_symmetric or float(found.covariance.diagonal().min()) < 0:
        raise WrongValue(f"{name}: sigma is no covariance, which is symmetric with a diagonal of 0 or more")
    return found, count if count is None or count > 0 else None


def write_pictures(
    path: Path, side: int, labels: Sequence[int] | None, pictures: Iterable[np.ndarray], n: int, note: bytes = b""
) -> None:
    """Write pictures as ADM's sample files have them, one after the other, so that memory never holds all.

    Args:
        path: the .npz file; it is written whole or not at all, with the same bytes every time.
        side: of the pictures in pixels.
        labels: the class of each, for `arr_1`; None where they are unknown.
        pictures: n pictures, each (side, side, 3) uint8.
        n: their number.
        note: a comment of the file.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = note
        with archive.open(zipfile.ZipInfo(f"{PICTURES}.npy", WHEN), "w", force_zip64=True) as out:
            about = {"descr": "|u1", "fortran_order": False, "shape": (n, side, side, 3)}
            np.lib.format.write_array_header_1_0(out, about)
            for picture in pictures:
                out.write(np.ascontiguousarray(picture).data)
        if labels is not None:
            with archive.open(zipfile.ZipInfo(f"{LABELS}.npy", WHEN), "w", force_zip64=True) as out:
                np.lib.format.write_array(out, np.array(labels, np.int64), allow_pickle=False)


def write_statistics(path: Path, found: Gaussian, n: int) -> None:
    """Write statistics so that `statistics_of`, ADM's evaluator, pytorch-fid and clean-fid read them."""
    with replacing(path) as temporary, temporary.open("wb") as out:
        np.savez(out, allow_pickle=False, mu=found.mean, sigma=found.covariance, n=np.int64(n))
