"""Dataclasses filled from the plain values of TOML and JSON files: training recipes and shapes of networks."""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from lactok import outside_text
from lactok.errors import MissingFile, UserError, WrongValue, one_line, unknown
from lactok.outside_text import shown

T = TypeVar("T")


class Within:
    """The range of a number, or the least length of a tuple, as `Annotated[int, Within(ge=1)]`.

    Args:
        bounds: `ge`, `gt`, `le`, `lt` of a number, `min_length` of a tuple, as pydantic's schemas name them. This class
            stands in for pydantic's own, which take a third of a second to import.
    """

    def __init__(self, **bounds: float):
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self.bounds}


# the ranges that numbers of recipes and shapes have; `build` refuses others by name
Count = Annotated[int, Within(ge=1, le=10**9)]  # of things, at least one
Whole = Annotated[int, Within(ge=0, le=10**9)]  # of things, or none
Batch = Annotated[int, Within(ge=1, le=2**20)]  # images
Loaders = Annotated[int, Within(ge=0, le=256)]  # threads
Side = Annotated[int, Within(ge=1, le=2**14)]  # of a picture in pixels
Counts = Annotated[tuple[Count, ...], Within(min_length=1)]
Sides = Annotated[tuple[Side, ...], Within(min_length=1)]
Seed = Annotated[int, Within(ge=0, lt=2**63)]
Index = Annotated[int, Within(ge=-64, lt=64)]  # a place in a list, counted from its end where negative
Positive = Annotated[float, Within(gt=0, le=1e9)]
Weight = Annotated[float, Within(ge=0, le=1e9)]  # of a part of a loss
Rate = Annotated[float, Within(gt=0, le=1)]  # a learning rate
Share = Annotated[float, Within(ge=0, le=1)]  # of a whole, also a decay
Beta = Annotated[float, Within(ge=0, lt=1)]  # of Adam

SHOWN = 80  # characters of a wrong value that a message shows


class Config:
    """The base of dataclasses that `build` fills: pydantic refuses unknown keys and values of another type."""

    __pydantic_config__: typing.ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def read(path: str | Path, kind: type[T], changes: Mapping[str, Any] | None = None, examples: Path | None = None) -> T:
    """Fill a dataclass from a TOML file; tables of the file are nested dataclasses.

    Args:
        path: the TOML file.
        kind: a dataclass of base `Config`.
        changes: values that take the place of the file's.
        examples: the folder that a message names where there is no such file.

    Raises:
        UserError: there is no such file, it is not TOML, or its keys and values are not those of `kind`.
    """
    return build(kind, merged(read_values(path, examples), changes or {}), str(path))


def read_values(path: str | Path, examples: Path | None = None) -> dict[str, Any]:
    """Return what a TOML file holds, whatever keys these are.

    Args:
        path, examples: as of `read`.

    Raises:
        UserError: there is no such file, or it is not TOML.
    """
    if not os.path.lexists(path):
        hint = f"; the recipes are in {examples}" if examples else ""
        raise MissingFile(f"config {shown(path, 200)} does not exist{hint}")
    where = f"config {shown(path, 200)}"
    return _parsed(outside_text.read(path, where), where)


def _parsed(text: str, where: str) -> dict[str, Any]:
    """Return what TOML says; raise WrongValue, whose message begins with `where`, if it is none."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise WrongValue(f"{where}: lists and tables are nested too deep") from None
    except ValueError as error:  # TOML's mistakes, and numbers of thousands of digits
        raise WrongValue(f"{where}: {one_line(error)}") from None


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes in the place of values, table by table.

    >>> merged({"steps": 1, "vae": {"scaling": 1.0, "weights": "a"}}, {"vae": {"scaling": 0.5}})
    {'steps': 1, 'vae': {'scaling': 0.5, 'weights': 'a'}}
    """
    out = dict(values)
    for key, value in changes.items():
        inner = out.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            out[key] = merged(inner, value)
        else:
            out[key] = value
    return out


def changes(settings: Sequence[str], data: str | None = None) -> dict[str, Any]:
    """Read what a user sets instead of a recipe's values.

    Args:
        settings: texts KEY=VALUE, the value as in TOML or a word without quotes; "vae.scaling=0.5" is
            {"vae": {"scaling": 0.5}}.
        data: the value of the key "data", if any.

    Raises:
        WrongValue: a text that is not KEY=VALUE.
    """
    tree: dict[str, Any] = {"data": data} if data else {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not key or not equals:
            example = "as in `set` peak_lr=1e-4 or `set` vae.weights=FILE"
            raise WrongValue(f"`set` {one_line(text)}: write KEY=VALUE, {example}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):
            parsed = value  # a word without quotes
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise WrongValue(f"`set` {one_line(text)}: {part} is set to a value and to a table")
        place[last] = parsed
    return tree


def build(kind: type[T], values: Any, where: str) -> T:
    """Make a value of a type from plain values: tables become dataclasses, lists become tuples, whole numbers floats.

    Args:
        kind: a dataclass of base `Config`, or any type that pydantic knows.
        values: dictionaries, lists, texts and numbers, as TOML and JSON hold them.
        where: what the messages call the place that the values come from.

    Raises:
        UserError: unknown or missing keys, or values of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:  # as JSON, since a strict reader of Python values would want tuples where TOML has lists
        text = json.dumps(values, default=str)
    except (RecursionError, ValueError):
        raise WrongValue(f"{where}: lists nested too deep, or a number of thousands of digits") from None
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise _explained(kind, error.errors(), where) from None


def _explained(kind: Any, mistakes: Sequence[Any], where: str) -> UserError:
    """Return one of pydantic's mistakes as an error of one line.

    Unknown keys come before wrong values, and these before missing keys, since a misspelt key is missing too.
    """

    def rank(mistake: Any) -> int:
        if mistake["type"] == "unexpected_keyword_argument":
            return 0
        return 2 if mistake["type"] == "missing" and isinstance(mistake["loc"][-1], str) else 1

    first = min(mistakes, key=rank)
    *tables, key = first["loc"] or ("",)
    place = where + "".join(f" [{one_line(table, SHOWN)}]" for table in tables if isinstance(table, str))
    name, value = ".".join(one_line(part, SHOWN) for part in first["loc"]), one_line(repr(first["input"]), SHOWN)
    if first["type"] == "unexpected_keyword_argument":
        for table in tables:
            kind = _part(kind, table)
        return unknown(f"key in {place}", one_line(key, SHOWN), (field.name for field in dataclasses.fields(kind)))
    if first["type"] == "missing" and isinstance(key, int):
        return WrongValue(f"{where}: {'.'.join(map(str, tables))} = {value}: too few values")
    if first["type"] == "missing":
        keys = [m["loc"][-1] for m in mistakes if m["type"] == "missing" and [*m["loc"][:-1]] == tables]
        return WrongValue(f"{place}: missing {', '.join(map(str, keys))}")
    if first["type"] == "value_error":
        return WrongValue(f"{where}: {one_line(first['ctx']['error'], 2 * SHOWN)}")
    return WrongValue(f"{where}: {name} = {value}: {first['msg'].removeprefix('Input ')}")


def _part(kind: Any, key: str | int) -> Any:
    """Return the dataclass that a key of the dataclass `kind` holds, or that a place in the tuple type `kind` holds."""
    hint = kind if isinstance(key, int) else typing.get_type_hints(kind)[key]
    inside = [part for part in typing.get_args(hint) if part not in (type(None), ...)]
    return inside[0] if inside else hint
