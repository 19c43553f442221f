"""Devices: whether this machine has one, exact arithmetic on it, waiting for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lactok.errors import WrongValue


def check_device(name: str) -> str:
    """The name of a device that this machine has.

    Raises:
        WrongValue: not a device, or not here.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise WrongValue(f"`device` {name}: not a device; cpu, cuda, cuda:1 or mps")
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not have[kind]:
        raise WrongValue(f"`device` {name}: this machine has no such device; leave it out to use the CPU")
    return name


@contextmanager
def exact_float32() -> Iterator[None]:
    """TF32 off: float32 means float32, on every GPU."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def synchronize(device: str) -> None:
    """Wait until what was asked of an accelerator is done; nothing to wait for on the CPU."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
