"""What a network at hand computes with, as a digest: the values of its weights do not tell it from an edited one."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from lactok.evaluation.protocol import digest

PLAIN = (bool, int, float, complex, str, bytes, type(None))
OF_MODULES = {*vars(nn.Module()), "training"}  # what every module has
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def code_of(network: nn.Module) -> str:
    """Digest of a network's code and plain settings.

    The methods of its modules' classes count, as bytecode, so that a class of a notebook or one that was changed in
    memory is known too; so does what they name in their own file: functions, classes and plain values. What is
    installed, and the package lactok, count by their names; an attribute that is no plain value, array or dataclass
    counts by its type.
    """
    found: dict[str, list[str]] = {}
    left: deque[Any] = deque()
    settings = []
    for name, module in network.named_modules():
        left.append(type(module))
        attributes = {k: v for k, v in vars(module).items() if k not in OF_MODULES}
        settings.append([name, type(module).__qualname__, sorted((k, _plain(v)) for k, v in attributes.items())])
    while left:
        thing = left.popleft()
        name = f"{thing.__module__}.{thing.__qualname__}"
        if name not in found:
            found[name] = lines = []
            if not _is_installed(thing.__module__):
                for text, named in _content(thing):
                    lines.append(text)
                    left.extend(named)
    return digest([settings, sorted(found.items())])


def _content(thing: type | FunctionType) -> Iterator[tuple[str, list[Any]]]:
    """What a class or a function consists of, and the classes and functions that each part names."""
    if isinstance(thing, FunctionType):
        texts, named = [], []
        for code in _codes(thing.__code__):
            texts.append([code.co_code.hex(), code.co_names, [_plain(c) for c in code.co_consts]])
            values = [(n, thing.__globals__[n]) for n in code.co_names if n in thing.__globals__]
            texts.extend([n, _plain(v)] for n, v in values)
            named += [v for _, v in values if isinstance(v, type | FunctionType)]
        closed = [cell.cell_contents for cell in thing.__closure__ or () if cell != type(cell)()]
        values = [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values(), *closed]
        yield repr([texts, [_plain(v) for v in values]]), [*named, *(v for v in values if isinstance(v, FunctionType))]
        return
    yield "bases", list(thing.__bases__)
    for key, value in vars(thing).items():
        if key in ("__doc__", "__dict__", "__weakref__", "__module__"):
            continue
        functions = [value, *(getattr(value, k, None) for k in ("__func__", "__wrapped__", "fget", "func"))]
        yield f"{key} {_plain(value)}", [f for f in functions if isinstance(f, type | FunctionType)]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's bytecode and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _plain(value: object) -> str:
    """A value as text: what it is where it is plain, else its type."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_plain, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in value.items())}}}"
    if isinstance(value, partial):
        return _plain([value.args, value.keywords])
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().float().numpy() if value.dtype == torch.bfloat16 else value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__qualname__} {_plain(vars(value))}"
    return type(value).__qualname__


def _is_installed(module: str) -> bool:
    """Whether a module is lactok's, Python's or of an installed package; a notebook's or a script's is not."""
    if module.partition(".")[0] == "lactok":
        return True
    if module == "__main__" or module not in sys.modules:
        return False
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return module in sys.builtin_module_names
    return any(Path(file).resolve().is_relative_to(folder) for folder in INSTALLED)
