"""Weights in one byte each: matrices and kernels as int8 with one scale a row, which halves files of float16.

Small models are shipped so. What is read is float32 again, see `lactok.weights.cache.load_safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError, WrongValue, one_line

if TYPE_CHECKING:
    from torch import Tensor

SCALE = "::scale"  # follows a tensor's name in the name of its scales
SHORTEST = 64  # numbers of a row that is packed; codebooks and the like have shorter ones and stay as they are
LEVELS = 127


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with rows of `SHORTEST` numbers or more as int8, and their scales beside them.

    A row is what one output channel is computed by: `tensor[i]`. Its largest number becomes 127 or -127, so a number is
    off by half a 127th of it at most. Other floating tensors become float16 where that changes no number by more than a
    thousandth, and stay as they are where it would.

    Args:
        tensors: the tensors by name.

    Raises:
        WrongValue: they are packed already, or not finite.
    """
    import torch

    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            raise WrongValue("these weights are packed already")
        if not tensor.is_floating_point():
            found[name] = tensor
            continue
        if not bool(tensor.isfinite().all()):
            raise WrongValue(f"{one_line(name)} is not finite")
        if tensor.dim() < 2 or tensor.shape[1:].numel() < SHORTEST or not len(tensor):
            narrow = tensor.half()
            error = (narrow.double() - tensor.double()).abs()
            found[name] = narrow if bool((error <= tensor.double().abs() * 1e-3).all()) else tensor
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1) / LEVELS
        steps = torch.where(scale[:, None] > 0, rows / scale[:, None], 0.0)
        found[name] = steps.round().to(torch.int8).reshape(tensor.shape)
        found[name + SCALE] = scale
    return found


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `packed` was given, within its error, as float32; tensors that are not packed stay as they are."""
    import torch

    if not any(name.endswith(SCALE) for name in tensors):
        return dict(tensors)
    found = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        if scale is not None:
            if tensor.dim() < 2 or scale.shape != tensor.shape[:1]:
                raise UserError(f"its scales of {one_line(name)} do not fit")
            tensor = tensor.to(torch.float32) * scale.view(-1, *[1] * (tensor.dim() - 1))
        found[name] = tensor
    return found


def pack(source: Path, target: Path) -> tuple[int, int]:
    """Pack a file of weights, whose notes stay; return the number of bytes before and after.

    Args:
        source: a safetensors file.
        target: where the packed one is written.

    Raises:
        UserError: the file cannot be read, or is packed already.
    """
    from safetensors import safe_open

    from lactok.files import is_file, replacing
    from lactok.weights.cache import save_safetensors

    if not is_file(source):
        raise WrongValue(f"{source}: no such file of weights")
    try:
        with safe_open(source, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            notes = file.metadata()
    except Exception as error:  # errors of safetensors have no common class
        raise UserError(f"{source} is not a safetensors file, or damaged ({one_line(error)})") from error
    try:
        small = packed(tensors)
    except WrongValue as error:
        raise WrongValue(f"{source}: {error}") from error
    before = source.stat().st_size
    with replacing(target) as temporary:
        save_safetensors(temporary, small, notes)
    return before, target.stat().st_size
