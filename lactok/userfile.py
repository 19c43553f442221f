"""A user's Python file as a module, for `FILE.py:CLASS`: it is imported from where it lies, and nothing is written."""

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

HOME = Path(__file__).resolve().parents[1]  # of the project's packages: in a clone a user's file may lie there too


def import_file(path: str | Path) -> tuple[ModuleType, str]:
    """The module of a Python file, and the sha256 of its code and of the modules beside it that it imports.

    As when Python runs the file, modules in its folder can be imported by name; this has to happen at the top of the
    file. Edited code is imported again.

    Raises:
        WrongValue: importing the file raises an error.
    """
    file = Path(path).resolve()
    with _one_line(file):
        beside = _beside(file)
    code = hashlib.sha256(file.read_bytes())
    for name, helper in sorted(beside.items()):
        code.update(name.encode() + hashlib.sha256(helper.read_bytes()).digest())
    digest = code.hexdigest()
    return _imported(file, digest, frozenset(name.partition(".")[0] for name in beside)), digest


def _beside(file: Path) -> dict[str, Path]:
    """Name -> file of the modules in a file's folder that it imports, and that these import."""
    own = {path.parent.name for path in HOME.glob("*/__init__.py")}
    found: dict[str, Path] = {}
    left = [("", file)]
    while left:
        name, path = left.pop()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            for dotted in _imports(node, package):
                parts = dotted.split(".")
                for inner in [".".join(parts[:end]) for end in range(1, len(parts) + 1)]:
                    place = file.parent.joinpath(*inner.split("."))
                    sources = [p for p in (place / "__init__.py", place.parent / f"{place.name}.py") if p.is_file()]
                    if sources and inner not in found and parts[0] not in own:
                        found[inner] = sources[0]
                        left.append((inner, sources[0]))
    return found


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """The modules that a statement of a module in `package` imports; names that it takes from one may be modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".") if package else []
        base = [*parents[: len(parents) + 1 - node.level], node.module] if node.level else [node.module]
        yield from (".".join(filter(None, [*base, alias.name])) for alias in node.names)


@lru_cache(maxsize=16)
def _imported(file: Path, digest: str, beside: frozenset[str]) -> ModuleType:
    # Not by Python's loader: its cached bytecode is stale where a file of the same size was written in the same second.
    name = f"lactok_adapter_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    with _one_line(file), _importable(file.parent, beside):
        exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), vars(module))
    return module


@contextmanager
def _importable(folder: Path, beside: frozenset[str]) -> Iterator[None]:
    """Let the modules of a folder be imported; others of the same names come back afterwards."""
    others = _taken_out(beside)
    wrote = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = wrote
        _taken_out(beside)
        sys.modules.update(others)


def _taken_out(names: frozenset[str]) -> dict[str, ModuleType]:
    """Modules of these names and what is inside them, which Python forgets."""
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in found:
        del sys.modules[name]
    return found


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise WrongValue(f"{file} cannot be imported: {text}") from error
