"""Reads the tensors of a checkpoint: by torch's own safe loader, and by a restricted reader where that refuses.

A file is looked at before it is read. What is refused then, in one line that says why: an archive that unpacks to far
more than its size, a pickle that is made to hang its reader, tensors that take far more memory than the file has.
"""

from __future__ import annotations

import io
import mmap
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lactok.errors import UserError, one_line
from lactok.weights.pickle_scan import Program, scan
from lactok.weights.restricted_pickle import STORAGES, Inert, Lazy, Refused, RestrictedReader

ENTRIES = 2_000_000  # of all dictionaries and lists together
TENSORS = 200_000
DEPTH = 100  # of dictionaries within dictionaries
NAME = 1000  # characters of a tensor's name
TIMES, MORE = 4, 64 * 2**20  # memory that a file of N bytes may take: 4 N, for tied weights, and 64 MiB

# what torch's safe loader may be asked to call: none of these takes memory by a number that stands in the file
SAFE = {
    "collections.OrderedDict",
    "collections.Counter",
    "torch.Size",
    "torch.device",
    "torch.nn.parameter.Parameter",
    *(f"torch._utils.{name}" for name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")),
    "builtins.set",
    "__builtin__.set",
}

_OLD_FORMAT = pickle.dumps(0x1950A86A20F9469CFC6C, 2)  # torch's before 1.6: several pickles in a row, this number first
_OLD_PICKLES = 5  # the number, a version, the machine's types, the objects, the storages' keys


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in a torch zip file, a TorchScript archive or a plain pickle, by their path: {"a.b.c": tensor}.

    What is no tensor and no array of numbers is left out.

    Raises:
        UserError: the file is damaged, refers to anything but weights, or would take far more memory than its size.
    """
    try:
        tensors = _read_archive(path) if zipfile.is_zipfile(path) else _read_pickle(path)
        if set(tensors) == {""}:
            raise UserError(f"{path} is one tensor without a name, not a network's weights; save its `state_dict()`")
        return tensors
    except UserError:
        raise
    except Refused as refusal:
        raise UserError(f"{path} is refused: {one_line(refusal)}; get the file from its official source") from refusal
    except Exception as error:  # a damaged pickle may raise anything
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        reason = _looks_like(path) or reason
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); fetch it again") from error


def _looks_like(path: Path) -> str:
    """Say what a file is that is often saved in place of a checkpoint; "" for all others."""
    try:
        with path.open("rb") as file:
            start = file.read(200).lstrip().lower()
    except OSError:
        return ""
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps one that asks to log in"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, which stands for the file: `git lfs pull` fetches it"
    return "" if start else "an empty file"


def _read_archive(path: Path) -> dict[str, Tensor]:
    """A zip file with one data.pkl and its storages in data/ beside it."""
    with zipfile.ZipFile(path) as archive:
        prefix = _check_archive(archive, path)
        program = archive.read(f"{prefix}data.pkl")
        found = scan(io.BytesIO(program), str(path))
        tree = _by_torch(path) if _is_for_torch(found, archive, prefix) else None
        if tree is None:
            if _byte_order(archive, prefix) != "little":
                raise Refused("its numbers are stored with the highest byte first")
            tree = RestrictedReader(io.BytesIO(program), archive, prefix).load()
        return flatten(tree, path.stat().st_size)


def _check_archive(archive: zipfile.ZipFile, path: Path) -> str:
    """The folder of data.pkl in an archive ("name/" or ""), after a look at the sizes of everything in it."""
    members = archive.infolist()
    found = [m.filename for m in members if m.filename.lower().rpartition("/")[2] == "data.pkl"]
    found = [name for name in found if name.count("/") <= 1]
    if not found:
        raise UserError(f"{path} is a zip file without weights (no data.pkl)")
    if len(found) > 1 or len({m.filename for m in members}) < len(members):
        raise Refused("two of its members have the same name")
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise Refused("its compression is one that torch does not know")
    total, limit = sum(m.file_size for m in members), memory_limit(path.stat().st_size)
    if total > limit:
        raise Refused(f"{path.stat().st_size / 1e6:.1f} MB that unpack to {total / 1e6:.0f} MB are not weights")
    return found[0].removesuffix("data.pkl")


def _is_for_torch(program: Program, archive: zipfile.ZipFile, prefix: str) -> bool:
    """Whether torch's safe loader may be asked: it would read this pickle, call what is harmless, and stay in bounds.

    Older versions of it read on behind the end of a storage that is shorter than the pickle says.
    """
    first = min(archive.infolist(), key=lambda member: member.header_offset)
    if first.header_offset or not program.called <= SAFE:  # another file stands before the archive, which torch reads
        return False
    for storage in program.storages:
        if storage is None:
            return False
        kind, key, number = storage
        dtype = torch.uint8 if kind == "torch.storage.UntypedStorage" else STORAGES.get(kind.removeprefix("torch."))
        member = archive.getinfo(f"{prefix}data/{key}")
        if dtype is None or not 0 <= number * dtype.itemsize <= member.file_size:
            return False
    return True


def _byte_order(archive: zipfile.ZipFile, prefix: str) -> str:
    """The order of bytes that an archive was written in, "little" or "big"."""
    try:
        return archive.read(f"{prefix}byteorder").decode()
    except KeyError:
        return "little"


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """A plain pickle, or torch's format before 1.6."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content: Any = mapped  # a file to read from, which types do not say
        if content[: len(_OLD_FORMAT)] == _OLD_FORMAT:
            called = frozenset[str]().union(*(scan(content, str(path)).called for _ in range(_OLD_PICKLES)))
            if not called <= SAFE:
                raise Refused("it is in torch's old format, with more in it than weights")
            tree = _by_torch(path)
            if tree is None:
                raise ValueError("cut short or damaged")
        else:
            scan(content, str(path))
            content.seek(0)
            tree = RestrictedReader(content).load()
        return flatten(tree, len(content))


def _by_torch(path: Path) -> Any | None:
    """What torch's safe loader makes of a file on the CPU; None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises how to loosen it
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # its refusals and damaged files have no common class; the restricted reader says what it is
            return None


def memory_limit(size: int) -> int:
    """How much memory a file of `size` bytes may take."""
    return TIMES * size + MORE


def flatten(tree: Any, size: int) -> dict[str, Tensor]:
    """Nested dictionaries, lists and inert objects -> tensors by path, leaving out what is no tensor or array.

    Args:
        size: bytes of the file that they are from.

    Raises:
        Refused: more entries, depth, names or memory than weights need.
    """
    out: dict[str, Tensor] = {}
    used, limit = 0, memory_limit(size)
    for name, leaf in _leaves(tree, "", 0, count(1)):
        used += leaf.nbytes if isinstance(leaf, Lazy) else _nbytes(leaf)
        if used > limit:
            raise Refused(f"its tensors would take {used / 1e6:.0f} MB or more, and the file has {size / 1e6:.1f} MB")
        tensor = leaf.tensor() if isinstance(leaf, Lazy) else _plain(leaf)
        if tensor is not None:
            if name in out:
                raise Refused(f"two of its tensors have the name {one_line(name)}")
            out[name] = tensor
        if len(out) > TENSORS:
            raise Refused(f"more than {TENSORS:,} tensors are not read")
    return out


def _leaves(tree: Any, name: str, depth: int, entries: Iterator[int]) -> Iterator[tuple[str, Tensor | Lazy]]:
    """Tensors, read or not yet, with their names; `entries` counts the entries that were looked at."""
    if isinstance(tree, Tensor | Lazy):
        yield name, tree
        return
    if isinstance(tree, Inert):
        tree = tree.__dict__
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, dict):
        pairs = dict.items(tree)  # not by its own attribute, which a file may set
    elif isinstance(tree, list | tuple):
        pairs = enumerate(tree)
    if depth > DEPTH:
        raise Refused(f"its dictionaries are nested more than {DEPTH} deep, or hold themselves")
    for key, value in pairs:
        if next(entries) > ENTRIES:
            raise Refused(f"its dictionaries and lists have more than {ENTRIES:,} entries")
        if isinstance(value, Tensor | Lazy | Inert | dict | list | tuple):
            yield from _leaves(value, _joined(name, key, depth), depth + 1, entries)


def _joined(name: str, key: object, depth: int) -> str:
    """The name of an entry: its dictionary's name, a dot and its key."""
    if isinstance(key, tuple | frozenset):  # whose text may be far longer than the file
        nested = any(isinstance(part, tuple | frozenset) or len(f"{part}") > NAME for part in key)
        if len(key) > DEPTH or nested:
            raise Refused("a tensor's name is no text")
    joined = f"{name}.{key}" if depth else f"{key}"
    if len(joined) > NAME:
        raise Refused(f"a tensor's name has more than {NAME} characters")
    return joined


def _nbytes(tensor: Tensor) -> int:
    """Bytes of memory that all elements of a tensor take, which may be more than its storage has."""
    return Tensor.numel(tensor) * Tensor.element_size(tensor)


def _plain(tensor: Tensor) -> Tensor:
    """The tensor without gradient, class or attributes that a file may have given it."""
    return Tensor.detach(tensor).as_subclass(Tensor)
