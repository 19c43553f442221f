"""Several processes: how they are joined, who goes first, and networks whose weights are spread over all of them.

Sharding is PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`), frozen parts included. Accelerate's plugin for it is
not used: on CPUs, where the tests run, it is passed over without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lactok.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

# the others wait while one process evaluates, which may take longer than the usual ten minutes
PATIENCE = timedelta(hours=4)


def accelerator_of(device: str, precision: str = "no") -> Accelerator:
    """This process among those that `accelerate launch` or `torchrun` started, or alone.

    Args:
        device: cpu, or a GPU: each process takes its own.
        precision: "no" or "bf16".
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    wishes = [InitProcessGroupKwargs(timeout=PATIENCE)]
    AcceleratorState._reset_state()  # it keeps the precision of a process's first training, a later stage's may differ
    return Accelerator(cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=wishes)


@contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """The main process goes through alone, the others after it, also when it fails."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()


def shard(learner: nn.Module, accelerator: Accelerator) -> None:
    """Spread all weights over the processes: residual and transformer blocks each by itself, the rest together.

    Raises:
        UserError: there is only one process.
    """
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.resnet import ResnetBlock2D
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if accelerator.num_processes == 1:
        raise UserError("fsdp = true spreads weights over processes, here is one: start with `accelerate launch`")
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for module in list(learner.modules()):
        if isinstance(module, BasicTransformerBlock | ResnetBlock2D):
            fully_shard(module, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    accelerator.prepare_model(learner, device_placement=False, evaluation_mode=True)  # autocast, nothing else


@contextmanager
def gathered(learner: nn.Module) -> Iterator[None]:
    """Inside, methods beside `forward` find the weights whole; on all processes at once."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(learner, FSDPModule):
        yield
        return
    learner.unshard()
    try:
        yield
    finally:
        learner.reshard()


def whole(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Tensors of a sharded network, put together on the CPU where `keep` says so; all processes must take part."""
    from torch.distributed.tensor import DTensor

    out = {}
    for name, tensor in tensors.items():
        value = tensor.detach()
        if isinstance(value, DTensor):
            value = value.full_tensor()
        if keep:
            out[name] = value.cpu()
    return out


def like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor of the shape of another one, on its device and sharded as it is; of another shape, as it is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if value.shape != other.shape:
        return value
    value = value.to(other.device)
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value, other.device_mesh, other.placements, src_data_rank=None)
