"""Linear layers for decoding, where a layer gets a row or a few and its time is that of reading its weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.gpt import FeedForward


class TransposedLinear(nn.Module):
    """A linear layer without bias whose weights come first in the product, which a CPU computes twice as fast.

    The results are the same but for the order in which a sum's terms are added. Rows are (R, in) -> (R, out); any other
    input takes the usual product.
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight = layer.weight

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return (self.weight @ x.t()).t()
        return F.linear(x, self.weight)  # many rows: a caption's


class JoinedFeedForward(nn.Module):
    """A `FeedForward` that reads the weights of its first two layers by one product; (..., width) -> (..., width)."""

    def __init__(self, layer: FeedForward):
        super().__init__()
        first, second = layer.w1, layer.w3
        with torch.device("meta"):  # the joined weights take the place of both
            self.w13 = nn.Linear(first.in_features, 2 * first.out_features, bias=False)
        self.w13.weight = nn.Parameter(torch.cat([first.weight, second.weight]), requires_grad=False)
        self.w2 = layer.w2

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.w13(x).chunk(2, -1)
        return self.w2(F.silu(gate) * up)


def prepare(model: nn.Module) -> None:
    """Replace a network's layers by those for few rows, where they are faster.

    The network is for inference afterwards; its `state_dict` has other names. Half-precision products are replaced on a
    CPU alone: in float32, torch's own products of one row or two read the weights as fast as memory allows.
    """
    for name, child in list(model.named_children()):
        if isinstance(child, FeedForward):
            child = JoinedFeedForward(child)
            setattr(model, name, child)
        if not isinstance(child, nn.Linear):
            prepare(child)
        elif child.bias is None and child.weight.device.type == "cpu" and child.weight.dtype == torch.bfloat16:
            setattr(model, name, TransposedLinear(child))
