"""Checkpoints: one safetensors file with everything that a training goes on from, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lactok.errors import UserError


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
