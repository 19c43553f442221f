"""Devices: whether this machine has one, exact arithmetic on it, waiting for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lactok.errors import WrongValue

if TYPE_CHECKING:
    import torch


def check_device_name(name: str) -> None:
    """Raise WrongValue if this is no name of a device, whatever this machine has; torch is not imported."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not re.fullmatch("[0-9]{1,3}", index)):
        raise WrongValue(f"`device` {name}: not a device; cpu, cuda, cuda:1 or mps")


def check_device(name: str) -> str:
    """Return the name of a device ("cpu", "cuda", "cuda:1", "mps") if this machine has it.

    Raises:
        WrongValue: this is no name of a device, or the machine has no such device.
    """
    check_device_name(name)
    import torch

    kind, _, index = name.partition(":")
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not have[kind]:
        raise WrongValue(f"`device` {name}: this machine has no such device; leave it out to use the CPU")
    return name


def device_name(name: str) -> str:
    """Return the model of a GPU, such as "NVIDIA H100"; of another device, or one that is not there, its own name."""
    import torch

    if name.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(name)
    return name.partition(":")[0]


def instead_of(dtype: torch.dtype) -> str:
    """Return the end of a message about values that are not finite: the dtype, and which to use instead, if any.

    >>> import torch
    >>> instead_of(torch.float16), instead_of(torch.float32)
    (' in float16; use bfloat16 or float32', ' in float32')
    """
    name = str(dtype).removeprefix("torch.")
    advice = {"float16": "; use bfloat16 or float32", "bfloat16": "; use float32"}
    return f" in {name}{advice.get(name, '')}"


@contextmanager
def exact_float32() -> Iterator[None]:
    """Switch TF32 off inside the `with` block, so that float32 arithmetic is float32 on every GPU."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def synchronize(device: str) -> None:
    """Wait until an accelerator has done what it was asked to do; on the CPU there is nothing to wait for."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
