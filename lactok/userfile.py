"""Importing a user's Python file, for `FILE.py:CLASS`, from where it lies; no bytecode is written beside it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from lactok.errors import UserError, WrongValue

# the folder in which this project's packages lie; in a clone a user's file may lie there too
PROJECT_FOLDER = Path(__file__).resolve().parents[1]


def import_file(path: str | Path) -> tuple[ModuleType, str]:
    """Import a Python file as a module.

    As when Python runs the file, it can import modules in its folder by name, but only at its top level, not later
    inside a function. The file is imported again when it, or a module in its folder that it imports, was edited.

    Returns:
        The module, and the sha256 of the file and of the modules in its folder that it imports.

    Raises:
        WrongValue: importing the file raises an error.
    """
    file = Path(path).resolve()
    with _import_errors(file):
        neighbours = _neighbours(file)
    code = hashlib.sha256(file.read_bytes())
    for name, neighbour in sorted(neighbours.items()):
        code.update(name.encode() + hashlib.sha256(neighbour.read_bytes()).digest())
    digest = code.hexdigest()
    names = frozenset(name.partition(".")[0] for name in neighbours)
    return _import_module(file, digest, names), digest


def _neighbours(file: Path) -> dict[str, Path]:
    """Return the modules in a file's folder that it imports, and that these import: dotted name -> file."""
    project_packages = {path.parent.name for path in PROJECT_FOLDER.glob("*/__init__.py")}
    found: dict[str, Path] = {}
    to_read = [("", file)]
    while to_read:
        name, path = to_read.pop()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            for imported in _imported_names(node, package):
                parts = imported.split(".")
                if parts[0] in project_packages:
                    continue
                for end in range(1, len(parts) + 1):  # importing a.b.c imports a and a.b too
                    module = ".".join(parts[:end])
                    source = _source_file(file.parent.joinpath(*parts[:end]))
                    if source is not None and module not in found:
                        found[module] = source
                        to_read.append((module, source))
    return found


def _source_file(module: Path) -> Path | None:
    """Return the source of the package or module at a path without ".py", or None if there is neither."""
    for source in (module / "__init__.py", module.parent / f"{module.name}.py"):
        if source.is_file():
            return source
    return None


def _imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that a statement imports, if it stands in a module of `package` and is an import.

    `from a import b` yields a.b, which may be a module or anything else in module a.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        base = []
        if node.level:  # the number of dots of a relative import
            parents = package.split(".") if package else []
            base = parents[: len(parents) + 1 - node.level]
        if node.module:
            base.append(node.module)
        for alias in node.names:
            yield ".".join([*base, alias.name])


@lru_cache(maxsize=16)
def _import_module(file: Path, digest: str, neighbours: frozenset[str]) -> ModuleType:
    """Run a file as a new module; `digest`, of its code, makes that an edited file is not taken from the cache."""
    # Not by Python's loader, which takes stale bytecode where a file was edited within a second and kept its size.
    name = f"lactok_adapter_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    with _import_errors(file), _importable(file.parent, neighbours):
        exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), vars(module))
    return module


@contextmanager
def _importable(folder: Path, names: frozenset[str]) -> Iterator[None]:
    """Let modules of these names be imported from a folder inside the `with` block, and forget them afterwards.

    Modules of the same names from elsewhere are put away meanwhile. No bytecode is written.
    """
    put_away = _forget_modules(names)
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before
        _forget_modules(names)
        sys.modules.update(put_away)


def _forget_modules(names: frozenset[str]) -> dict[str, ModuleType]:
    """Remove the modules and packages of these names, with what is in the packages, from `sys.modules`; return them."""
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in found:
        del sys.modules[name]
    return found


@contextmanager
def _import_errors(file: Path) -> Iterator[None]:
    """Turn any error inside the `with` block into a WrongValue of one line; a UserError passes as it is."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise WrongValue(f"{file} cannot be imported: {text}") from error
