"""How a training computes: gradients that repeat on a CPU, and group norms in float32 under autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def repeatable(device: torch.device | str) -> Iterator[None]:
    """The same gradients every time on the CPU, where indexing adds its gradient in no fixed order on several threads.

    On a GPU nothing is changed: there some operations have no other way.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    fills = deterministic.fill_uninitialized_memory  # a help to find bugs that costs time
    if torch.device(device).type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = fills


class Float32GroupNorm(nn.GroupNorm):
    """A group norm that computes in float32 under autocast and returns the dtype that it was given.

    CUDA's autocast does so by itself; on a CPU the norm's gradient in bfloat16 takes four times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


def use_float32_norms(module: nn.Module) -> None:
    """Replace every group norm below `module` by a `Float32GroupNorm` with the same parameters under the same name."""
    for name, part in list(module.named_modules()):
        if type(part) is nn.GroupNorm:
            with torch.device("meta"):
                norm = Float32GroupNorm(part.num_groups, part.num_channels, part.eps, part.affine)
            norm.weight, norm.bias = part.weight, part.bias
            norm.train(part.training)
            module.set_submodule(name, norm)
