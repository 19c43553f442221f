"""Checkpoints: one safetensors file with everything that is needed to resume a training, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lactok.errors import UserError, one_line
from lactok.files import replacing
from lactok.weights.cache import save_safetensors


def save_state(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata atomically: after a kill, the file is either the old or the new one, complete.

    Raises:
        OSError: the disk is full or cannot be written to; the old file stays.
    """
    with replacing(path) as temporary:
        save_safetensors(temporary, tensors, {"meta": json.dumps(meta, sort_keys=True)})
    path.with_suffix(".part").unlink(missing_ok=True)  # left by an earlier version that was killed


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata that `save_state` wrote.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            return {k: file.get_tensor(k) for k in sorted(file.keys())}, json.loads(file.metadata()["meta"])
    except Exception as error:
        raise UserError(f"checkpoint {path} cannot be read ({one_line(error)}); delete it to start over") from error


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names `prefix.name`."""
    return {f"{prefix}.{k}": v for k, v in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix.`, without that prefix."""
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors under the names `parameter index.entry`, such as `0.exp_avg`."""
    tensors = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for entry, value in entries.items():
            tensors[f"{index}.{entry}"] = torch.as_tensor(value)
    return tensors


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned; parameter groups stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
