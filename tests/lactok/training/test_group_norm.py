"""The group norm for channels-last images is torch's, and its gradients are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lactok.training.group_norm import Float32GroupNorm, use_float32_norms


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_are_torch_s(dtype: torch.dtype, tolerance: float, layout: torch.memory_format) -> None:
    draw = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(4, 24, eps=1e-6)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(24, generator=draw))
    holder = nn.Sequential(norm)
    use_float32_norms(holder)
    own = holder[0]
    assert type(own) is Float32GroupNorm
    assert own.weight is norm.weight
    images = (3 * torch.randn(2, 24, 9, 7, generator=draw) + 2).to(dtype).to(memory_format=layout)
    weights = torch.randn(2, 24, 9, 7, generator=draw)
    found = []
    for layer, kind in ((copy.deepcopy(norm).double(), torch.float64), (own, dtype)):
        x = images.detach().to(kind).clone(memory_format=torch.preserve_format).requires_grad_()
        layer.zero_grad()
        out = layer(x)
        assert out.dtype == kind
        (out.float() * weights).sum().backward()
        gradients = (x.grad, layer.weight.grad, layer.bias.grad)
        found.append([out.detach().float(), *(g.float() for g in gradients if g is not None)])
    for wanted, made in zip(*found, strict=True):
        torch.testing.assert_close(made, wanted, atol=tolerance * float(wanted.detach().abs().max()), rtol=0)
