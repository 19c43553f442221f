"""Linear layers for decoding, where a layer gets a row or a few and its time is that of reading its weights.

On a CPU, torch's usual products of a few rows read the weights up to twice as slowly as memory allows. The layers here
hold the weights in another order, and give the same results but for the order in which a sum's terms are added.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 2  # for which weights are packed: an image with its caption and without; more rows gain too


class TransposedLinear(nn.Module):
    """A linear layer without bias in bfloat16; the product with the weights first uses all of the bandwidth."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight = layer.weight

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        return (self.weight @ rows.t()).t().contiguous().view(*x.shape[:-1], -1)


class PackedLinear(nn.Module):
    """A linear layer without bias in float32, whose weights are packed once, by oneDNN, instead of at every call."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self._packed = pack(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return packed_product(x, self._packed)


def pack(weight: Tensor) -> Any:
    """Return weights (out, in) float32 on the CPU in oneDNN's own order; torch.compile freezes networks so too."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)


def packed_product(x: Tensor, packed: Any) -> Tensor:
    """Return the product of rows (..., in) with packed weights, (..., out)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    return product


@cache
def can_pack() -> bool:
    """Return whether this build of torch can pack weights and gives right results with them."""
    weight, x = torch.linspace(-1, 1, 96 * 64).view(96, 64), torch.linspace(-1, 1, 2 * 64).view(2, 64)
    try:
        return torch.allclose(packed_product(x, pack(weight)), F.linear(x, weight), atol=1e-4)
    except (AttributeError, RuntimeError, NotImplementedError):  # these operators are not promised to every build
        return False


def prepare(model: nn.Module) -> None:
    """Replace a network's linear layers without bias by those for few rows, where they are on a CPU and faster.

    The network is for inference afterwards: packed weights are in no `state_dict`.
    """
    for name, child in list(model.named_children()):
        if not isinstance(child, nn.Linear):
            prepare(child)
        elif child.weight.device.type == "cpu" and child.bias is None:
            if child.weight.dtype == torch.bfloat16:
                setattr(model, name, TransposedLinear(child))
            elif child.weight.dtype == torch.float32 and can_pack():
                setattr(model, name, PackedLinear(child))
