"""What no training of this project has ever done, said once when a training begins that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

FULL_SIZE = 10**9  # parameters from which on a training is one of the published size
EVER = (
    "Never run by this project: trainings on a GPU, NCCL between GPUs, FSDP on GPUs, and networks of the published "
    "size. Its own trainings were small and on CPUs, with gloo between processes."
)


def never_run(parameters: int, device: str, processes: int, fsdp: bool) -> str:
    """Return in one line which parts of a training were never run, "" if all were.

    Args:
        parameters: number of parameters, frozen ones included.
        device: the kind of device, such as "cpu" or "cuda".
        processes: number of processes.
        fsdp: whether the weights are sharded over them.

    >>> never_run(10**6, "cpu", 2, True)
    ''
    """
    parts = []
    if device != "cpu":
        parts.append(f"training on {device}")
        if processes > 1:
            parts.append("NCCL between GPUs")
        if fsdp:
            parts.append("FSDP on GPUs")
    if parameters >= FULL_SIZE:
        parts.append(f"networks of {parameters / 1e9:.1f} billion parameters")
    if not parts:
        return ""
    return (
        f"never run by this project: {', '.join(parts)}; compare the first losses and pictures with what you expect, "
        "and stop and resume once, before you spend days on it"
    )


def parameters_of(module: nn.Module) -> int:
    """Return the number of a network's parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in module.parameters())
