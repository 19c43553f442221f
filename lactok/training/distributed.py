"""Training by several processes: how they are joined, which goes first, and weights that are sharded over them.

Weights are sharded by PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`), frozen parts included. Accelerate's
plugin for it is not used, because accelerate silently ignores it on CPUs, where the tests run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

Item = TypeVar("Item")
Found = TypeVar("Found")

# the other processes wait while one scores by the suite, which may take longer than the usual ten minutes
TIMEOUT = timedelta(hours=4)


def accelerator_of(device: str, precision: str = "no") -> Accelerator:
    """Return the accelerator of this process: alone, or one of those that `accelerate launch` or `torchrun` started.

    Args:
        device: "cpu", or a GPU; several processes take one GPU each.
        precision: "no" or "bf16", the dtype of autocast.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    settings = [InitProcessGroupKwargs(timeout=TIMEOUT)]
    # the state would keep the precision of the process's first training, and a later stage may have another
    AcceleratorState._reset_state()
    return Accelerator(cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=settings)


@contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """Let the main process run the block first and the other processes after it, also if it raises an error."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()


def each(items: Sequence[Item], work: Callable[[Item], Found]) -> Iterator[Found]:
    """Yield what a function returns for each item, in order; the processes of the training share the items.

    All processes must call it and take all results. In each round a process has one item; where the last round has too
    few, some do the last item too, since in a sharded network all processes must compute together.

    Args:
        items: the items, the same on all processes.
        work: the function. What it returns is sent to the other processes, so its tensors are on the CPU.
    """
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    for start in range(0, len(items), state.num_processes):
        some = items[start : start + state.num_processes]
        own = work(some[min(state.process_index, len(some) - 1)])
        yield from gather_object([own])[: len(some)]


def shard(learner: nn.Module, accelerator: Accelerator) -> None:
    """Shard all weights of a learner over the processes: each residual and transformer block, then the rest."""
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.resnet import ResnetBlock2D
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from lactok.nn.gpt import Block

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for module in list(learner.modules()):
        if isinstance(module, BasicTransformerBlock | ResnetBlock2D | Block):
            fully_shard(module, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    # in evaluation mode accelerate adds autocast and does not wrap the learner for distributed training
    accelerator.prepare_model(learner, device_placement=False, evaluation_mode=True)


@contextmanager
def unsharded(learner: nn.Module) -> Iterator[None]:
    """Inside the block a sharded learner holds its whole weights, so that methods other than `forward` can be called.

    All processes must enter the block; a learner that is not sharded stays as it is.
    """
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(learner, FSDPModule):
        yield
        return
    learner.unshard()
    try:
        yield
    finally:
        learner.reshard()


def gather_tensors(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return the whole tensors of a sharded network on the CPU.

    All processes must call it.

    Args:
        tensors: tensors by name, sharded or not.
        keep: False for a process that does not need the result and gets an empty dictionary.
    """
    from torch.distributed.tensor import DTensor

    gathered = {}
    for name, tensor in tensors.items():
        value = tensor.detach()
        if isinstance(value, DTensor):
            value = value.full_tensor()
        if keep:
            gathered[name] = value.cpu()
    return gathered


def shard_like(value: Tensor, other: Tensor) -> Tensor:
    """Return a whole tensor on the device of another tensor of the same shape, and sharded as that one is.

    A tensor of another shape, such as the optimizer's step, is returned unchanged.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    if value.shape != other.shape:
        return value
    value = value.to(other.device)
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value, other.device_mesh, other.placements, src_data_rank=None)
