"""Telling networks of one name apart by their code.

`lactok.evaluate` also takes a tokenizer that is loaded already. Its result must not be taken from the store if its
class was edited since, and the values of its weights do not tell that. In a notebook, a class is written again under
its old name. `inspect.getsource` finds no source text of such a class, since it stands in no file. What is always there
is the bytecode to which Python compiled its methods, with the names that they use and the constants in them: these are
hashed here. Line numbers and comments are no part of them, so an edited comment or a cell that moved changes nothing,
while another version of Python compiles to other bytecode and has everything computed once more.
"""

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
MODULE_ATTRIBUTES = {*vars(nn.Module()), "training"}  # what every torch module has, its weights among it
NO_CODE = ("__doc__", "__dict__", "__weakref__", "__module__")  # attributes of a class that compute nothing
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))

Thing = type | FunctionType  # what has code


def code_of(network: nn.Module) -> str:
    """Return a digest of what a network computes with, apart from the values of its weights.

    These count:
    - the settings of each of its modules: attributes that are plain values, arrays or dataclasses by their values,
      all others by their type;
    - the code of the modules' classes, and of the functions and classes that this code names in its own file, and so
      on; code of lactok, of Python and of installed packages counts by its name alone.
    """
    settings = []
    to_visit: deque[Thing] = deque()
    for name, module in network.named_modules():
        to_visit.append(type(module))
        attributes = {key: value for key, value in vars(module).items() if key not in MODULE_ATTRIBUTES}
        described = sorted((key, _as_text(value)) for key, value in attributes.items())
        settings.append([name, type(module).__qualname__, described])
    found: dict[str, list[str]] = {}
    while to_visit:
        thing = to_visit.popleft()
        name = f"{thing.__module__}.{thing.__qualname__}"
        if name in found:
            continue
        found[name] = []
        if not _is_installed(thing.__module__):
            parts = _function_code(thing) if isinstance(thing, FunctionType) else _class_code(thing)
            for text, named in parts:
                found[name].append(text)
                to_visit.extend(named)
    return digest([settings, sorted(found.items())])


def _class_code(cls: type) -> Iterator[tuple[str, list[Thing]]]:
    """Yield each part of a class, its bases and its attributes, as text and with the classes and functions in it."""
    yield "bases", list(cls.__bases__)
    for name, value in vars(cls).items():
        if name not in NO_CODE:
            # the function inside a class or static method, a decorated function, a property, a cached property
            inside = [getattr(value, attribute, None) for attribute in ("__func__", "__wrapped__", "fget", "func")]
            yield f"{name} {_as_text(value)}", [thing for thing in (value, *inside) if isinstance(thing, Thing)]


def _function_code(function: FunctionType) -> Iterator[tuple[str, list[Thing]]]:
    """Yield a function as text, and the classes and functions that it names."""
    texts: list[list[Any]] = []
    named: list[Thing] = []
    for code in _codes(function.__code__):
        texts.append([code.co_code.hex(), code.co_names, [_as_text(constant) for constant in code.co_consts]])
        for name in code.co_names:
            if name in function.__globals__:
                value = function.__globals__[name]
                texts.append([name, _as_text(value)])
                if isinstance(value, Thing):
                    named.append(value)
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *_closure(function)]
    named += [value for value in values if isinstance(value, FunctionType)]
    yield repr([texts, [_as_text(value) for value in values]]), named


def _closure(function: FunctionType) -> Iterator[object]:
    """Yield the values of the variables that a function takes from the function around it."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # the variable has no value yet
            continue


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's bytecode and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _as_text(value: object) -> str:
    """Return a value as text that is the same in every process: its content where that is plain, else its type."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_as_text(item) for item in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_as_text(item) for item in value))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_as_text(key)}: {_as_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, partial):
        return _as_text([value.args, value.keywords])
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has no such dtype
            value = value.float()
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__qualname__} {_as_text(vars(value))}"
    return type(value).__qualname__


def _is_installed(module: str) -> bool:
    """Return whether a module is lactok's, Python's or of an installed package, not of a notebook or a script."""
    if module.partition(".")[0] == "lactok":
        return True
    if module == "__main__" or module not in sys.modules:
        return False
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return module in sys.builtin_module_names
    return any(Path(file).resolve().is_relative_to(folder) for folder in INSTALLED)
