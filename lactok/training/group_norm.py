"""Group norms in float32, and a fast one for images in the channels-last layout on a CPU.

There torch's own gradient takes most of a step, while convolutions are fastest in that layout. Sums over places
are taken channel by channel, and a group's moments are combined from those of its channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _GroupNorm(torch.autograd.Function):
    """Group norm of (B, C, H, W), channels last; weight and bias are (C,) float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, HW, C), the order in memory
        wide = rows.float()
        count = rows.shape[1] * rows.shape[2] // groups
        mean = _of_group(wide.sum(1), groups) / count  # (B, C): of the channel's group
        variance = (_of_group((wide * wide).sum(1), groups) / count - mean * mean).clamp(min=0)
        inverse = (variance + eps).rsqrt()
        scale = inverse * weight
        out = torch.addcmul((bias - mean * scale)[:, None], wide, scale[:, None]).to(x.dtype)
        ctx.save_for_backward(rows, weight, mean, inverse)
        ctx.groups = groups
        return out.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (gradient,) = gradients
        rows, weight, mean, inverse = ctx.saved_tensors
        shape = gradient.shape
        wide, of_out = rows.float(), gradient.permute(0, 2, 3, 1).flatten(1, 2).float()
        count = rows.shape[1] * rows.shape[2] // ctx.groups
        sums, products = of_out.sum(1), (of_out * wide).sum(1)  # (B, C)
        of_weight = (products - mean * sums) * inverse  # the gradient by the normalised values, summed over places
        first = _of_group(weight * sums, ctx.groups) / count
        second = _of_group(weight * of_weight, ctx.groups) / count
        by_x = -inverse * inverse * second
        rest = -inverse * first - by_x * mean
        out = torch.addcmul(rest[:, None], of_out, (inverse * weight)[:, None]).addcmul_(wide, by_x[:, None])
        by_image = out.to(rows.dtype).unflatten(1, shape[2:]).permute(0, 3, 1, 2)
        return by_image, of_weight.sum(0), sums.sum(0), None, None


def _of_group(sums: Tensor, groups: int) -> Tensor:
    """Return for each channel the sum (B, C) over its group of sums by channel (B, C)."""
    return sums.unflatten(1, (groups, -1)).sum(2, keepdim=True).expand(-1, -1, sums.shape[1] // groups).flatten(1)


class Float32GroupNorm(nn.GroupNorm):
    """A group norm that computes in float32 under autocast and returns the dtype of its input.

    CUDA's autocast does this by itself. On a CPU it also takes the way above for images in the channels-last layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, ...)."""
        is_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        if is_last and x.device.type == "cpu":
            return _GroupNorm.apply(x, self.weight.float(), self.bias.float(), self.num_groups, self.eps)
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


def use_float32_norms(module: nn.Module) -> None:
    """Replace every group norm inside `module` by a `Float32GroupNorm` with the same parameters and the same name."""
    for name, part in list(module.named_modules()):
        if type(part) is nn.GroupNorm and part.affine:
            with torch.device("meta"):
                norm = Float32GroupNorm(part.num_groups, part.num_channels, part.eps)
            norm.weight, norm.bias = part.weight, part.bias
            norm.train(part.training)
            module.set_submodule(name, norm)
