"""Plug-ins found by name: in the files of packages, among the entry points of installed packages, by decorator.

Nothing is imported to list the names. The files of a package are read as source text: a class or function with the
decorator `@register(...)`, say, goes by the first string inside the decorator, so its name has to stand there as a
literal. A new file is seen without reinstalling.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any, Generic, TypeVar

from lactok.errors import UserError, WrongValue, unknown
from lactok.extras import extras_named

E = TypeVar("E")


@dataclass(frozen=True)
class Place:
    """Where a name is registered.

    Attributes:
        module: the dotted name of the module whose import registers it.
        listed: whether it is one of `Plugins.names`; one that is not listed is found by its name alone.
    """

    module: str
    listed: bool = True


@lru_cache(maxsize=64)
def places(package: str, decorator: str) -> Mapping[str, Place]:
    """Return the names that a package's modules register by `@decorator(...)`; the modules are not imported.

    The package's `ORDER`, a tuple of names of its modules, says which come first; the others follow alphabetically.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return {}
    order = getattr(importlib.import_module(package), "ORDER", ())
    files = {path.stem: path for root in found.submodule_search_locations for path in sorted(Path(root).glob("*.py"))}
    files.pop("__init__", None)
    names: dict[str, Place] = {}
    for module in sorted(files, key=lambda m: (order.index(m) if m in order else len(order), m)):
        for name, listed in _decorated(files[module], decorator):
            names.setdefault(name, Place(f"{package}.{module}", listed))
    return names


def _decorated(file: Path, decorator: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a file's decorators from top to bottom, each with False where `listed=False` stands beside it.

    Raises:
        UserError: there is no string in a decorator.
    """
    for node in ast.parse(file.read_bytes(), str(file)).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and _name(call.func) == decorator:
                constants = [n for n in ast.walk(call) if isinstance(n, ast.Constant)]
                texts = [(n.lineno, n.col_offset, n.value) for n in constants if isinstance(n.value, str)]
                if not texts:
                    raise UserError(f"{file}, line {call.lineno}: write the name as a text in @{decorator}(...)")
                listed = [
                    k.value.value for k in call.keywords if k.arg == "listed" and isinstance(k.value, ast.Constant)
                ]
                yield min(texts)[2], False not in listed


def _name(function: ast.expr) -> str:
    """Return the name of a decorator, `register` for both `@register(...)` and `@lactok.register(...)`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class Plugins(Generic[E]):
    """All plug-ins of one kind by name, such as all tokenizers.

    Args:
        what: what messages call the kind, "tokenizer".
        decorator: the name of the decorator that registers one; it calls `add`.
        group: the group of entry points in which other packages name theirs.
        packages: returns the packages whose files are read for decorators.
    """

    def __init__(self, what: str, decorator: str, group: str, packages: Callable[[], tuple[str, ...]]):
        self.what, self.decorator, self.group, self.packages = what, decorator, group, packages
        self.registered: dict[str, E] = {}

    def own(self) -> dict[str, Place]:
        """Return the names in the packages' files, in their order, and where each is registered."""
        return {name: place for package in self.packages() for name, place in places(package, self.decorator).items()}

    def points(self) -> dict[str, EntryPoint]:
        """Return the entry points of the group by name."""
        return {point.name: point for point in points(self.group)}

    def names(self) -> list[str]:
        """Return all listed names: those of the packages first, then those of entry points and of decorators."""
        own = self.own()
        known = dict.fromkeys([*own, *self.points(), *self.registered])
        return [name for name in known if name not in own or own[name].listed]

    def unlisted(self) -> list[str]:
        """Return the packages' names that are not listed, though they are found by name like any other."""
        return [name for name, place in self.own().items() if not place.listed]

    def check(self, name: str) -> None:
        """Raise UnknownName for a name that nobody registers; nothing is imported."""
        if name not in self.registered and name not in self.own() and name not in self.points():
            raise unknown(self.what, name, self.offered())

    def offered(self) -> list[str]:
        """Return the names that the error for an unknown name lists."""
        return self.names()

    def add(self, name: str, entry: E) -> None:
        """Register an entry under a name; decorators call this.

        Raises:
            WrongValue: something else has the name. The same class may come again, from a module that is loaded twice.
        """
        known, place, new = self.registered.get(name), self.own().get(name), _origin(self.maker(entry))
        if (known is not None and _origin(self.maker(known)) != new) or (place is not None and place.module != new[0]):
            raise WrongValue(f"two {self.what}s are named {name!r}; rename one")
        self.registered[name] = entry

    def maker(self, entry: E) -> Any:
        """Return the class or function that the decorator stands on; by default the entry is that itself."""
        return entry

    def get(self, name: str) -> E:
        """Return what is registered under a name; its module is imported if need be.

        Raises:
            UserError: the name is unknown, or its plug-in cannot be imported or does not register the name.
            MissingPackage: it needs a package of an extra that is not installed.
        """
        self.check(name)
        if name not in self.registered:
            if (place := self.own().get(name)) is not None:
                with extras_named(what=f"the {self.what} {name}"):
                    importlib.import_module(place.module)
            else:
                self._import_point(name)
        return self.registered[name]

    def _import_point(self, name: str) -> None:
        """Import an entry point's object, and take it in if no decorator registered it meanwhile."""
        point = self.points()[name]
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"plug-in {name!r} ({point.value}) cannot be imported: {text}") from error
        if name not in self.registered:
            self.adopt(name, point, loaded)

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Take in the object of an entry point that no decorator registered; refused with a UserError by default."""
        raise UserError(
            f"plug-in {point.value} does not register {name!r}; decorate its class with @lactok.{self.decorator}"
        )


def _origin(maker: Any) -> tuple[str, str]:
    """Return a class's module and name, which stay the same when the module is loaded twice."""
    return getattr(maker, "__module__", ""), getattr(maker, "__qualname__", "")


@lru_cache(maxsize=16)
def points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, the first of each name.

    Every installed distribution is asked, since `importlib.metadata.entry_points` lets the remains of an older
    installation (a folder lactok.egg-info in a clone) hide the present one.
    """
    found: dict[str, EntryPoint] = {}
    for distribution in distributions():
        for point in distribution.entry_points:
            if point.group == group:
                found.setdefault(point.name, point)
    return tuple(found.values())
