"""The loss of colours: CIELAB as the metric computes it, gradients everywhere, blind to texture."""

from __future__ import annotations

import torch

from lactok.metrics import colour as metric
from lactok.training.colour import SQUARES, colour_error, lab


def test_lab_is_that_of_the_metric() -> None:
    levels = torch.randint(0, 256, (3, 4096), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = torch.stack(metric.lab(levels)) / 100
    found = lab(levels.float().view(1, 3, 64, 64) / 127.5 - 1)[0].flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_colours_outside_of_the_range_have_finite_gradients() -> None:
    output = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])[None, None, :, None].repeat(1, 3, 1, 5).requires_grad_()
    colour_error(output, torch.zeros(1, 3, 5, 5)).backward()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())
    assert bool((output.grad[:, :, [0, 1, 3, 4]] != 0).all())


def test_texture_costs_nothing_and_grey_for_green_does() -> None:
    side = 4 * SQUARES
    green = torch.tensor([-0.6, 0.2, -0.6])[None, :, None, None].expand(1, 3, side, side)
    pattern = 1e-3 * torch.ones(side, side)
    pattern[::2, ::2], pattern[1::2, 1::2] = -1e-3, -1e-3
    assert float(colour_error(green + pattern, green)) < 2e-3
    grey = green.mean(1, keepdim=True).expand_as(green)
    assert float(colour_error(grey, green)) > 0.3
