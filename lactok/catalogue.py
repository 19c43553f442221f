"""What adapters declare, kept as text beside their code, so that it can be read without importing torch.

A package of adapters or rewards may hold a file `catalogue.json` with the specs that its modules register. It is made
from the modules and never edited; `tests/lactok/test_catalogue.py` fails where the two differ, and makes it anew with
`--regenerate-golden`. What a module declares counts only as long as the module's file is the one that it was read from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lactok.plugins import places
from lactok.specs import Asset, GeneratorSpec, Hub, Option, Packaged, PackageIndex, TokenizerSpec, Url

FILE = "catalogue.json"
CLASS = "class"  # the key that tells which class a group of values is of; no field can have this name
KINDS: tuple[type, ...] = (TokenizerSpec, GeneratorSpec, Option, Asset, Hub, PackageIndex, Url, Packaged)


def declared(package: str, decorator: str, kind: type) -> dict[str, Any]:
    """Return the specs of a package's catalogue by name; nothing of the package's modules is imported.

    Args:
        package: the dotted name of the package.
        decorator: the name of the decorator that registers what is wanted.
        kind: the class of the specs.

    Returns:
        The specs of modules whose files have not changed since the catalogue was made; nothing without a catalogue.
    """
    folder = _folder(package)
    if folder is None or not (folder / FILE).is_file():
        return {}
    found: dict[str, Any] = {}
    for module, (sha256, specs) in _read(folder / FILE).items():
        if decorator in specs and sha256 == _digest(folder / f"{module}.py"):
            found |= {name: _made(spec, kind) for name, spec in specs[decorator].items()}
    return found


def catalogue_of(package: str, specs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of a package's catalogue.

    Args:
        package: the dotted name of the package.
        specs: the name of a decorator -> the specs that it registers, by name.
    """
    folder = _folder(package)
    assert folder is not None, "a package is a folder"
    modules: dict[str, dict[str, list[str]]] = {}  # module -> decorator -> a line for each spec
    for decorator, named in specs.items():
        for name, place in places(package, decorator).items():
            lines = modules.setdefault(place.module.rpartition(".")[2], {}).setdefault(decorator, [])
            lines.append(f"{json.dumps(name)}: {json.dumps(_plain(named[name]), ensure_ascii=False)}")
    texts = []
    for module, found in modules.items():
        parts = [f'"{decorator}": {{\n' + ",\n".join(lines) + "\n}" for decorator, lines in found.items()]
        texts.append(f'"{module}": ["{_digest(folder / f"{module}.py")}", {{' + ", ".join(parts) + "}]")
    return "{\n" + ",\n".join(texts) + "\n}\n"


def file_of(package: str) -> Path:
    """Return where a package's catalogue is or would be."""
    folder = _folder(package)
    assert folder is not None, "a package is a folder"
    return folder / FILE


def _folder(package: str) -> Path | None:
    """Return the folder of a package, None if there is no such package."""
    found = importlib.util.find_spec(package)
    where = found.submodule_search_locations if found is not None else None
    return Path(next(iter(where))) if where else None


@lru_cache(maxsize=8)
def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def _digest(path: Path) -> str:
    """Return the beginning of the sha256 of a module's file, "" where it is gone."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _plain(value: Any) -> Any:
    """Return a spec, or a part of one, as values of JSON; what is at its default is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        given = {f.name: getattr(value, f.name) for f in fields(value)}
        empty = {f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(value)}
        changed = {name: _plain(found) for name, found in given.items() if found != empty[name]}
        return {CLASS: type(value).__name__, **changed}
    if isinstance(value, Mapping):
        return {key: _plain(found) for key, found in value.items()}
    return [_plain(found) for found in value] if isinstance(value, tuple) else value


def _made(value: Any, kind: type) -> Any:
    """Return what `_plain` made of a spec of class `kind`, or of a part of it, as it was."""
    if isinstance(value, dict):
        parts = {key: _made(found, kind) for key, found in value.items() if key != CLASS}
        if CLASS not in value:  # JSON has made texts of keys that are numbers
            return {int(key) if key.isdecimal() else key: found for key, found in parts.items()}
        return next(k for k in (kind, *KINDS) if k.__name__ == value[CLASS])(**parts)
    return tuple(_made(found, kind) for found in value) if isinstance(value, list) else value
