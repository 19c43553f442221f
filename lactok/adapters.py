"""All tokenizers, or all generators, by name: what is registered of each, and how its network is made.

`lactok.registry` has one `Adapters` of each kind.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from lactok.catalogue import declared
from lactok.errors import MissingFile, UserError, WrongValue, unknown
from lactok.files import is_file
from lactok.outside_text import shown
from lactok.plugins import Plugins, points
from lactok.specs import GeneratorSpec, TokenizerSpec
from lactok.userfile import import_file

if TYPE_CHECKING:
    from lactok.tokenizer import Generator, Reconstructor

C = TypeVar("C", bound=Callable[..., Any])
S = TypeVar("S", TokenizerSpec, GeneratorSpec)
M = TypeVar("M", bound="Reconstructor | Generator")

ADAPTERS = "lactok.adapters"
_NAME = re.compile(r"[\w.+-]+")
FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Entry(Generic[S, M]):
    """A registered tokenizer or generator: its spec and how its network is made.

    Attributes:
        spec: what is fixed about it before it is loaded.
        factory: the adapter's class, or a function; `factory(spec, **arguments)` makes the network without weights.
        arguments: keyword arguments of the factory.
        code: for `FILE.py:CLASS` the sha256 of the file and of the modules in its folder that it imports; else "".
    """

    spec: S
    factory: Callable[..., M]
    arguments: dict[str, Any]
    code: str = ""

    def create(self) -> M:
        """Make the network, without weights."""
        return self.factory(self.spec, **self.arguments)


@lru_cache(maxsize=1)
def _packages() -> tuple[str, ...]:
    """Return the packages of adapters that entry points name.

    Raises:
        UserError: there are none, since this Python sees lactok's files without its installation.
    """
    found = tuple(dict.fromkeys(point.value for point in points(ADAPTERS)))
    if not found:
        raise UserError(
            f"lactok is not installed for {sys.executable}, so its tokenizers are not found; use the Python that has "
            "it, or run `pip install -e .` in the clone"
        )
    return found


class Adapters(Plugins[Entry[S, M]]):
    """All adapters of one kind, whose names may carry options after `@` or name a class in a file."""

    def __init__(self, what: str, decorator: str, group: str):
        super().__init__(what, decorator, group, _packages)

    def register(self, spec: S, arguments: dict[str, Any]) -> Callable[[C], C]:
        """Return a decorator that registers a class or function as the factory of `spec` with `arguments`."""

        def add(factory: C) -> C:
            self.add(spec.name, Entry(spec, factory, arguments))
            return factory

        return add

    def maker(self, entry: Entry[S, M]) -> Any:
        """Return the entry's factory."""
        return entry.factory

    def check_name(self, name: str) -> None:
        """Raise UnknownName, MissingFile or WrongValue for a name that cannot be loaded; torch is not imported.

        Options after `@` are not looked at.
        """
        base = name.partition("@")[0]
        if (found := FILE.fullmatch(base)) is None:
            if base.endswith((".py", ".py:")):
                raise WrongValue(f"{base}: name the class in it too, as in {base.rstrip(':')}:Mine")
            self.check(base)
        elif not is_file(Path(found["file"])):
            raise MissingFile(f"no such file {shown(found['file'], 200)}; write FILE.py:CLASS")

    def entry(self, name: str, **options: object) -> Entry[S, M]:
        """Return what is registered under a name, its spec with the options after `@` and those given by keyword.

        Raises:
            UnknownName: there is no such name or option.
            MissingFile: there is no such file, for FILE.py:CLASS.
            WrongValue: an option's value is not allowed, or the file's class is no adapter.
        """
        base, text = self._parts(name, options)
        found: Any = self._from_file(base) if FILE.fullmatch(base) else self.get(base)
        return Entry(found.spec.with_options(text), found.factory, found.arguments, found.code)

    def spec(self, name: str, **options: object) -> S:
        """Return the spec of a name, as `entry` does; neither torch nor a module that a catalogue tells is imported."""
        base, text = self._parts(name, options)
        known = None if base in self.registered else self.catalogued().get(base)
        return self.entry(name, **options).spec if known is None else known.with_options(text)

    def _parts(self, name: str, options: Mapping[str, object]) -> tuple[str, str]:
        """Return a name without its options, and the options as text; raise as `entry` does, but for their values."""
        check_text(name)
        base, at, text = name.partition("@")
        self.check_name(base)
        if at and not text:
            raise WrongValue(f"{name!r}: options are missing after @, as in {base}@NAME=VALUE")
        return base, ",".join(filter(None, (text, *(f"{key}={value}" for key, value in options.items()))))

    def catalogued(self) -> dict[str, S]:
        """Return the specs that the catalogues of packages hold, by name."""
        kind = TokenizerSpec if self.what == "tokenizer" else GeneratorSpec
        found: dict[str, S] = {}
        for package in self.packages():
            found |= declared(package, self.decorator, kind)
        return found

    def _from_file(self, name: str) -> Entry[S, M]:
        """Return the entry of FILE.py:CLASS, a class that is decorated or has a `spec` of its own."""
        path, _, attribute = name.rpartition(":")
        module, code = import_file(path)
        factory = getattr(module, attribute, None)
        if factory is None:
            classes = [k for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
            raise unknown(f"class of {path}", attribute, classes)
        entry = next((e for e in self.registered.values() if e.factory is factory), None)
        if entry is not None:
            return Entry(entry.spec, factory, entry.arguments, code)
        spec: Any = getattr(factory, "spec", None)
        if not isinstance(spec, TokenizerSpec if self.what == "tokenizer" else GeneratorSpec):
            kind = "TokenizerSpec" if self.what == "tokenizer" else "GeneratorSpec"
            raise WrongValue(
                f"{name} does not say what it is: give the class `spec = lactok.{kind}(name=..., ...)`, or decorate it "
                f"with @lactok.{self.decorator}"
            )
        if spec.name in self.own() or not _NAME.fullmatch(spec.name):
            what = "has that name too" if spec.name in self.own() else "cannot have that name"
            raise WrongValue(f"{name} is named {spec.name!r}: a {self.what} of lactok {what}")
        return Entry(cast(S, spec), factory, {}, code)


def check_text(name: object) -> None:
    """Raise WrongValue if a name is no text."""
    if not isinstance(name, str):
        raise WrongValue(f"`name` {name!r}: a text")
