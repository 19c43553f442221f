"""The `--device` of the commands."""

from __future__ import annotations

from lactok.errors import UserError


def check_device(name: str) -> str:
    """The name of a device that this machine has.

    Raises:
        UserError: not a device, or not here.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise UserError(f"--device {name}: not a device; cpu, cuda, cuda:1 or mps")
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not have[kind]:
        raise UserError(f"--device {name}: this machine has no such device; leave it out to use the CPU")
    return name
