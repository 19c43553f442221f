"""What every trainer needs: configuration files, the learning rate, averaged weights, checkpoints and the curve."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lactok.errors import UserError, WrongValue, unknown

T = TypeVar("T")


@contextmanager
def repeatable(device: torch.device | str) -> Iterator[None]:
    """The same gradients every time on the CPU, where indexing adds its gradient in no fixed order on several threads.

    On a GPU nothing is changed: there some operations have no other way.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    fills = deterministic.fill_uninitialized_memory  # a help to find bugs that costs time
    if torch.device(device).type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = fills


def read_config(path: str | Path, kind: type[T], overrides: Mapping[str, Any] | None = None) -> T:
    """A TOML file as a dataclass, nested tables as nested dataclasses.

    Raises:
        UserError: no such file, bad TOML, unknown or missing keys.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(
            f"config {path} does not exist; the recipes are in {Path(__file__).parent / 'configs'}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"config {path}: {error}") from None
    return build(kind, merged(values, overrides or {}), str(path))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` in their place, table by table."""
    out = dict(values)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return out


def changes(settings: Sequence[str], data: str | None = None) -> dict[str, Any]:
    """What is said instead of the recipe: {"vae": {"scaling": 0.5}} for `vae.scaling=0.5`.

    Args:
        settings: texts KEY=VALUE, the value as in TOML or a word without quotes.
        data: instead of the recipe's, if any.

    Raises:
        WrongValue: not KEY=VALUE.
    """
    tree: dict[str, Any] = {"data": data} if data else {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise WrongValue(f"`set` {text}: write KEY=VALUE, as in `set` peak_lr=1e-4 or `set` vae.weights=FILE")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a word without quotes
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = parsed
    return tree


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from plain values, by its annotated types."""
    import typing

    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown(f"key in {where}", key, fields)
        hint = hints[key]
        inner = typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            value = build(hint, value, f"{where} [{key}]")  # type: ignore[arg-type]
        elif isinstance(value, list) and inner and dataclasses.is_dataclass(inner[0]):
            value = tuple(build(inner[0], v, f"{where} [[{key}]]") for v in value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        elif hint is float and isinstance(value, int):
            value = float(value)
        elif hint in (int, float, str, bool) and type(value) is not hint:
            raise UserError(f"{where}: {key} must be {hint.__name__}, not {value!r}")
        out[key] = value
    missing = [
        name
        for name, f in fields.items()
        if name not in out and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    return kind(**out)


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Linear warm-up to `peak`, then a cosine to zero at `total`.

    >>> learning_rate(0, 100, 10, 1.0), learning_rate(10, 100, 10, 1.0), learning_rate(100, 100, 10, 1.0)
    (0.1, 1.0, 0.0)
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def save_state(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: after a kill the file is the old one or the new one, whole."""
    temporary = path.with_suffix(".part")
    contiguous = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    save_file(contiguous, temporary, metadata={"meta": json.dumps(meta, sort_keys=True)})
    os.replace(temporary, path)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            return {k: file.get_tensor(k) for k in sorted(file.keys())}, json.loads(file.metadata()["meta"])
    except Exception as error:
        raise UserError(f"checkpoint {path} cannot be read ({error}); delete it to start over") from error


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{k}": v for k, v in tensors.items()}


def part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, `parameter index.entry`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{k}": torch.as_tensor(v) for i, entries in state.items() for k, v in entries.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class Curve:
    """`curve.jsonl`: one JSON object a logged step; on resuming, what lies after the checkpoint is dropped."""

    def __init__(self, path: Path, step: int):
        self.path = path
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if self._step(line) < step]
            temporary = path.with_suffix(".part")
            temporary.write_text("".join(f"{line}\n" for line in kept))
            os.replace(temporary, path)

    @staticmethod
    def _step(line: str) -> float:
        """The step of a line; a line cut short by a kill counts as after the end."""
        try:
            return float(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            return math.inf

    def log(self, step: int, **values: float) -> None:
        row = {"step": step} | {k: round(float(v), 6) for k, v in values.items()}
        with self.path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        print(" ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)


def float32_norms(module: nn.Module) -> None:
    """Let every group norm compute in float32 under autocast and return the dtype that it was given.

    CUDA's autocast does so by itself; on a CPU its gradient in bfloat16 takes four times as long.
    """
    for part in module.modules():
        if isinstance(part, nn.GroupNorm):
            part.forward = partial(_float32_norm, part)  # type: ignore[method-assign]


def _float32_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.group_norm(x.float(), norm.num_groups, norm.weight, norm.bias, norm.eps).to(x.dtype)
