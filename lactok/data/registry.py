"""The stages of data construction by name.

A stage is a class decorated by `@register_stage(StageSpec("name", ...))`. It stands in a module of `lactok.data`, in
another package that has an entry point of the group `lactok.stages`, or in a file: `FILE.py:CLASS`. Names may carry
options after `@`. Any generator of lactok is a source of pictures, and any reward a filter, without being registered:
see `sources` and `filtering`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, TypeVar

from lactok.data.stages import Stage, StageSpec
from lactok.errors import MissingFile, UserError, WrongValue, unknown
from lactok.files import is_file
from lactok.outside_text import shown
from lactok.plugins import Plugins
from lactok.userfile import import_file

GROUP = "lactok.stages"
S = TypeVar("S", bound="type[Stage]")
K = TypeVar("K", bound=Stage)


@dataclass(frozen=True)
class Registered:
    """A registered stage: its spec and its class, which may stand under several names."""

    spec: StageSpec
    stage: type[Stage]


class Stages(Plugins[Registered]):
    """The registry of all stages; an entry point may also name a class that has a `spec` but no decorator."""

    def __init__(self) -> None:
        super().__init__("stage", "register_stage", GROUP, lambda: ("lactok.data",))

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Register the class that an entry point names; raise UserError for anything that is not a stage."""
        if not _is_stage(loaded):
            raise UserError(f"plug-in {name!r} ({point.value}) is no stage; see lactok.data.stages.Stage")
        self.add(name, Registered(loaded.spec, loaded))

    def maker(self, entry: Registered) -> Any:
        """Return the entry's class."""
        return entry.stage

    def of_kind(self, kind: type[Stage]) -> list[str]:
        """Return the names of all stages of a kind; those that cannot be imported are left out."""
        found = []
        for name in self.names():
            try:
                if issubclass(self.get(name).stage, kind):
                    found.append(name)
            except UserError:  # a broken plug-in must not hide the others
                continue
        return found


STAGES = Stages()


def register_stage(spec: StageSpec) -> Callable[[S], S]:
    """Return a class decorator that registers a stage and sets its attribute `spec`.

    Write the name as the first text in the decorator: it is read from the source file, before the module is imported.

    Raises:
        WrongValue: another class has the name already.
    """

    def add(stage: S) -> S:
        STAGES.add(spec.name, Registered(spec, stage))
        stage.spec = spec
        return stage

    return add


def is_stage_name(name: str) -> bool:
    """Return whether a name, perhaps with options, is that of a registered stage or `FILE.py:CLASS`."""
    base = name.partition("@")[0]
    return base in STAGES.names() or _file_of(base) is not None


def find(kind: type[K], name: str) -> K:
    """Return a stage of a kind, not loaded yet.

    Args:
        kind: `Captioner`, for example.
        name: a name, which may carry options after `@`, or FILE.py:CLASS.

    Raises:
        UnknownName: there is no such stage or option.
        MissingFile: there is no such file, for FILE.py:CLASS.
        WrongValue: the stage is of another kind, or an option's value is not allowed.
    """
    base, at, text = name.partition("@")
    if at and not text:
        raise WrongValue(f"{name!r}: options are missing after @, as in {base}@NAME=VALUE")
    code = ""
    if (file := _file_of(base)) is not None:
        found, code = _in_file(*file)
    elif base in STAGES.names():
        found = STAGES.get(base)
    else:
        raise unknown(kind.kind, base, STAGES.of_kind(kind))
    if not issubclass(found.stage, kind):
        raise WrongValue(f"{base} is a {found.stage.kind}, not a {kind.kind}")
    stage = found.stage(found.spec.with_options(text))
    stage.code = code
    return stage


def settings_of(stage: Stage) -> dict[str, Any]:
    """Return all that a stage's results depend on, for JSON: its settings, and the digest of a user's file."""
    return stage.settings() | ({"code": stage.code} if stage.code else {})


def _file_of(base: str) -> tuple[str, str] | None:
    """Return the file and the class of FILE.py:CLASS, None for any other name."""
    file, colon, attribute = base.rpartition(":")
    return (file, attribute) if colon and file.endswith(".py") and attribute.isidentifier() else None


def _in_file(file: str, attribute: str) -> tuple[Registered, str]:
    """Return the stage of FILE.py:CLASS, and the sha256 of its code."""
    if not is_file(Path(file)):
        raise MissingFile(f"no such file {shown(file, 200)}; write FILE.py:CLASS")
    module, code = import_file(file)
    found = getattr(module, attribute, None)
    if found is None:
        classes = [k for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise unknown(f"class of {file}", attribute, classes)
    if not _is_stage(found):
        raise WrongValue(
            f"{file}:{attribute} is no stage: derive it from lactok.data.Captioner, say, and give it "
            "`spec = StageSpec('name')`"
        )
    return Registered(found.spec, found), code


def _is_stage(value: object) -> bool:
    """Return whether a value is a class of a stage with a spec."""
    is_class = isinstance(value, type) and issubclass(value, Stage)
    return is_class and isinstance(getattr(value, "spec", None), StageSpec)
