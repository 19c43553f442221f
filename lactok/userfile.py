"""A user's Python file as a module, for `FILE.py:CLASS`: it is imported from where it lies, and nothing is written."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType

from lactok.errors import UserError, WrongValue

HOME = Path(__file__).resolve().parents[1]  # in a clone, the project's own packages lie beside a file there


def import_file(path: str | Path) -> tuple[ModuleType, str]:
    """The module of a Python file, and the sha256 of its code and of the modules beside it that it imports.

    As when Python runs the file, modules in its folder can be imported by name; this has to happen at the top of the
    file. Edited code is imported again.

    Raises:
        WrongValue: importing the file raises an error.
    """
    file = Path(path).resolve()
    with _one_line(file):
        installed = [path.name for path in HOME.iterdir() if path.is_dir()] if file.parent == HOME else []
        finder = ModuleFinder([str(file.parent)], excludes=installed)
        finder.run_script(str(file))
    paths = {name: getattr(module, "__file__", None) for name, module in finder.modules.items() if name != "__main__"}
    beside = {name: Path(path) for name, path in paths.items() if path is not None}
    code = hashlib.sha256(file.read_bytes())
    for name, helper in sorted(beside.items()):
        code.update(name.encode() + hashlib.sha256(helper.read_bytes()).digest())
    digest = code.hexdigest()
    return _imported(file, digest, tuple(beside)), digest


@lru_cache(maxsize=16)
def _imported(file: Path, digest: str, beside: tuple[str, ...]) -> ModuleType:
    # Not by Python's loader: its cached bytecode is stale where a file of the same size was written in the same second.
    name = f"lactok_adapter_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    with _one_line(file), _importable(file.parent, beside):
        exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), vars(module))
    return module


@contextmanager
def _importable(folder: Path, beside: tuple[str, ...]) -> Iterator[None]:
    """Let the modules of a folder be imported; those of the same names that are there already come back after."""
    others = {name: sys.modules.pop(name) for name in beside if name in sys.modules}
    wrote = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = wrote
        for name in beside:
            sys.modules.pop(name, None)
        sys.modules.update(others)


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise WrongValue(f"{file} cannot be imported: {text}") from error
