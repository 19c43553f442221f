"""A reader for other people's pickles that builds tensors, arrays and plain containers and runs nothing else.

It reads torch's zip format (TorchScript archives too: only their data, never their code) and plain pickles of numpy
arrays. A class that carries no data for us may be named as inert: it is replaced by an empty object. Every other
global is refused by name, so a file that would run code on loading is reported, not run.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok.errors import UserError

# classes seen in published checkpoints beside the weights; they are dropped
INERT = ("argparse.Namespace", "pytorch_lightning.", "omegaconf.", "__torch__.", "flax.core.frozen_dict.")

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_STORAGES = {
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
}


class Inert:
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


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _rebuild_parameter(data: Tensor, *_: object) -> Tensor:
    return data


class _Dtype:
    """A numpy dtype by its text; None for anything but plain numbers, so that no pointer can be made of bytes."""

    def __init__(self, text: object, *_: object):
        self.text = str(text) if re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", str(text)) else None
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])

    def numpy(self) -> np.dtype | None:
        if self.text is None:
            return None
        return np.dtype(self.text).newbyteorder(">" if self.order == ">" else "<")


class _Array:
    """A pickled array: shape, dtype and bytes; `value` is None where it holds no plain numbers."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        kind = dtype.numpy()
        if kind is not None and isinstance(raw, bytes):
            array = np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
            self.value = array.astype(kind.newbyteorder("="))


def _scalar(dtype: _Dtype, raw: object = b"") -> object:
    kind = dtype.numpy()
    return np.frombuffer(raw, kind)[0].item() if kind is not None and isinstance(raw, bytes) else None


_CALLS: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": lambda *_: {},
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.jit._pickle.build_intlist": list,
    "torch.Size": tuple,
    "torch.device": lambda *_: None,
    "numpy.ndarray": None,  # only named, as the first argument of _reconstruct
    "numpy.dtype": _Dtype,
    "builtins.set": set,
    "_codecs.encode": lambda text, encoding="latin1": str(text).encode(encoding),
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _CALLS[f"{_module}._reconstruct"] = lambda *_: _Array()
    _CALLS[f"{_module}.scalar"] = _scalar
for _name, _dtype in _STORAGES.items():
    _CALLS[f"torch.{_name}"] = _dtype
    _CALLS[f"torch.storage.{_name}"] = _dtype


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, name: str, archive: zipfile.ZipFile | None = None, prefix: str = ""):
        super().__init__(file)
        self._name, self._archive, self._prefix = name, archive, prefix
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _CALLS:
            return _CALLS[full]
        if full.startswith(INERT):
            return Inert
        raise UserError(
            f"{self._name} is refused: loading it would call {full}, which is not needed for weights; "
            "get the file from its official source"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key = pid[:3]
        if kind != "storage" or self._archive is None or not isinstance(dtype, torch.dtype):
            raise UserError(f"{self._name} is refused: unknown reference {pid!r}")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._prefix}data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in a torch zip file, a TorchScript archive or a plain pickle, by their path: {"a.b.c": tensor}.

    Raises:
        UserError: the file is damaged or refers to anything but weights.
    """
    try:
        return _flatten(_load(path))
    except UserError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); fetch it again") from error


def _load(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            index = next((n for n in archive.namelist() if n.count("/") <= 1 and n.endswith("data.pkl")), None)
            if index is None:
                raise UserError(f"{path} is a zip file without weights (no data.pkl)")
            file = io.BytesIO(archive.read(index))
            return _Reader(file, str(path), archive, index.removesuffix("data.pkl")).load()
    with path.open("rb") as handle:
        tree = _Reader(handle, str(path)).load()
    if isinstance(tree, int) and tree == _LEGACY_MAGIC:
        return _load_legacy(path)
    return tree


def _load_legacy(path: Path) -> Any:
    """torch's format before 1.6, several pickles in a row, by torch's own restricted reader."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is refused: in torch's old format, with more in it than weights") from error


def _flatten(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """Nested dictionaries, lists and inert objects -> tensors by path, leaving out what is no tensor or array."""
    if isinstance(tree, Inert):
        tree = tree.__dict__
    if isinstance(tree, _Array):
        tree = None if tree.value is None else torch.from_numpy(tree.value)
    if isinstance(tree, Tensor):
        return {prefix.removesuffix("."): tree}
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, Mapping):
        pairs = tree.items()
    elif isinstance(tree, list | tuple):
        pairs = enumerate(tree)
    out: dict[str, Tensor] = {}
    for key, value in pairs:
        out |= _flatten(value, f"{prefix}{key}.")
    return out
