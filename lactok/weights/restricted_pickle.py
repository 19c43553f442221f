"""A reader for other people's pickles that builds tensors, arrays and plain containers and runs nothing else.

It reads what torch's own safe loader refuses or does not know: TorchScript archives (only their data, never their
code), pickles of numpy arrays, and checkpoints with objects of other libraries beside the weights. A class that
carries no data for us is replaced by an empty object; every other global is refused by name, so a file that would run
code on loading is reported, not run.

What a pickle gets hold of here cannot be changed by it: all functions are behind `_Call`, and tensors and arrays are
descriptions (`Lazy`) that are read only when everything about the file is known.
"""

from __future__ import annotations

import collections
import math
import pickle
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# classes seen in published checkpoints beside the weights: options, paths, dates; they are dropped
INERT = (
    "argparse.Namespace",
    "pytorch_lightning.",
    "omegaconf.",
    "__torch__.",
    "flax.core.frozen_dict.",
    "pathlib.",
    "datetime.",
)


class Refused(Exception):
    """The file asks for what weights do not need; the message completes "FILE is refused: "."""


class _Fixed:
    """Base of all objects that a pickle handles and must not change."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise Refused("it would change the reader itself")


class _Call(_Fixed):
    """A function that a pickle may call."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: object) -> Any:
        return self._function(*args)


class _FixedClass(type):
    """The type of classes that a pickle may name; their attributes cannot be set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise Refused("it would change the reader itself")


class Inert(metaclass=_FixedClass):
    """Stands for an object of a class that is not loaded; keeps its state, does nothing."""

    def __init__(self, *args: object, **kwargs: object):
        self.args = args

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)
        else:
            self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.__dict__[str(key)] = value

    def append(self, item: object) -> None:
        pass


class Lazy(_Fixed, ABC):
    """A tensor that is described but not read yet."""

    __slots__ = ()

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory that all its elements take."""

    @abstractmethod
    def tensor(self) -> Tensor | None:
        """The tensor; None for an array of anything but plain numbers."""


class _Storage(_Fixed):
    """A run of numbers in an archive, read once when a tensor needs it."""

    __slots__ = ("_archive", "_member", "_read", "dtype")

    def __init__(self, archive: zipfile.ZipFile, member: str, dtype: torch.dtype):
        self._archive, self._member, self.dtype = archive, member, dtype
        self._read: Tensor | None = None

    def read(self) -> Tensor:
        """All its numbers, (N,)."""
        if self._read is None:
            data = bytearray(self._archive.read(self._member))
            self._read = torch.frombuffer(data, dtype=self.dtype) if data else torch.empty(0, dtype=self.dtype)
        return self._read


class _View(Lazy):
    """A tensor on a storage, as torch writes it."""

    __slots__ = ("_offset", "_size", "_storage", "_stride")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object):
        if not isinstance(storage, _Storage) or not _counts((offset,)) or not _counts(size) or not _counts(stride):
            raise Refused("it describes a tensor in a way that torch does not write")
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    @property
    def nbytes(self) -> int:
        return math.prod(self._size) * self._storage.dtype.itemsize

    def tensor(self) -> Tensor:
        return self._storage.read().as_strided(self._size, self._stride, self._offset)


def _counts(values: object) -> bool:
    """Whether these are whole numbers from 0, as sizes, strides and offsets are."""
    if not isinstance(values, tuple | list) or len(values) > 64:
        return False
    return all(type(v) is int and 0 <= v < 2**63 for v in values)


class _Dtype(_Fixed):
    """A numpy dtype by its text; None for anything but plain numbers, so that no pointer can be made of bytes."""

    __slots__ = ("_order", "_text")

    def __init__(self, text: Any = "", *_: object):
        plain = isinstance(text, str) and re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", text)
        self._text = text if plain else None
        self._order = "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self._order = str(state[1])[:1]

    def numpy(self) -> np.dtype | None:
        """The dtype with its order of bytes."""
        if self._text is None:
            return None
        return np.dtype(self._text).newbyteorder(">" if self._order == ">" else "<")


class _Array(Lazy):
    """A pickled array: shape, dtype and bytes."""

    __slots__ = ("_dtype", "_fortran", "_raw", "_shape")

    def __init__(self, *_: object) -> None:
        self._raw: bytes | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype) or not _counts(state[1]):
            raise Refused("it describes an array in a way that numpy does not write")
        _, self._shape, self._dtype, self._fortran, raw = state
        self._raw = raw if isinstance(raw, bytes) and self._dtype.numpy() is not None else None

    @property
    def nbytes(self) -> int:
        return 0 if self._raw is None else len(self._raw)

    def tensor(self) -> Tensor | None:
        if self._raw is None:
            return None
        kind = self._dtype.numpy()
        array = np.frombuffer(self._raw, kind).reshape(self._shape, order="F" if self._fortran else "C")
        return torch.from_numpy(array.astype(kind.newbyteorder("=")))


def _scalar(dtype: object, raw: object = b"") -> object:
    """A numpy scalar as a plain number; None for anything else."""
    kind = dtype.numpy() if isinstance(dtype, _Dtype) else None
    return np.frombuffer(raw, kind)[0].item() if kind is not None and isinstance(raw, bytes) else None


def _list(items: object) -> list[Any]:
    """A copy of a list; of nothing else, since bytes would grow eightfold."""
    if not isinstance(items, list | tuple):
        raise Refused(f"it would make a list of a {type(items).__name__}")
    return list(items)


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    """How pickles of protocol 2 hold bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused(f"it would encode text as {str(encoding)[:40]}")
    return text.encode("latin1")


def _parameter(data: object = None, *_: object) -> object:
    """A parameter is its tensor."""
    return data


STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}

_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _Call(collections.OrderedDict),
    "collections.defaultdict": _Call(lambda *_: {}),
    "torch._utils._rebuild_tensor_v2": _Call(_View),
    "torch._utils._rebuild_parameter": _Call(_parameter),
    "torch.jit._pickle.build_intlist": _Call(_list),
    "torch.Size": _Call(lambda items=(): tuple(_list(items))),
    "torch.device": _Call(lambda *_: None),
    "numpy.ndarray": None,  # only named, as the first argument of _reconstruct
    "numpy.dtype": _Call(_Dtype),
    "builtins.set": _Call(lambda *_: None),
    "builtins.complex": _Call(lambda *_: None),  # as keys they would make slow dictionaries: equal hashes are easy
    "_codecs.encode": _Call(_latin1),
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[f"{_module}._reconstruct"] = _Call(_Array)
    _KNOWN[f"{_module}.scalar"] = _Call(_scalar)
for _name, _dtype in STORAGES.items():
    _KNOWN[f"torch.{_name}"] = _dtype
    _KNOWN[f"torch.storage.{_name}"] = _dtype


class RestrictedReader(pickle.Unpickler):
    """Reads one pickle; look through it by `pickle_scan.scan` first.

    Args:
        file: what is read from.
        archive: the zip file that holds the pickle's storages, if there is one.
        prefix: the archive's folder, as "name/".

    `load()` returns plain containers, numbers and texts, `Inert` objects and `Lazy` tensors, which can be read as long
    as the archive is open. It raises `Refused` for anything else.
    """

    def __init__(self, file: Any, archive: zipfile.ZipFile | None = None, prefix: str = ""):
        super().__init__(file)
        self._archive, self._prefix = archive, prefix
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"  # of Python 2, in protocols below 3
        if full in _KNOWN:
            return _KNOWN[full]
        if full.startswith(INERT):
            return Inert
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise Refused(f"loading it would call {full}, which is not needed for weights")

    def persistent_load(self, pid: Any) -> _Storage:
        known = isinstance(pid, tuple) and len(pid) >= 3 and pid[0] == "storage"
        if not known or self._archive is None or type(pid[1]) is not torch.dtype or type(pid[2]) is not str:
            raise Refused(f"unknown reference to a {type(pid).__name__} that is no storage")
        dtype, key = pid[1:3]
        storage = self._storages.setdefault(key, _Storage(self._archive, f"{self._prefix}data/{key}", dtype))
        if storage.dtype is not dtype:
            raise Refused("it reads the same numbers as two types")
        return storage
