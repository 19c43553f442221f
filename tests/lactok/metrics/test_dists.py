"""DISTS against torchmetrics' network, with random weights, and with the published ones where they are."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import dists as theirs
from torchvision.models import vgg16

from lactok import weights
from lactok.errors import UserError
from lactok.nn.dists import DISTS
from lactok.nn.dists_checkpoint import DISTS_WEIGHTS


def pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(2, 3, height, width, generator=generator)
    return first, (first + 0.1 * torch.randn(first.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("size", [(64, 64), (65, 99)])
def test_it_is_torchmetrics_with_its_own_channel_weights(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    backbone = vgg16(weights=None)
    monkeypatch.setattr(theirs, "vgg16", lambda weights: backbone)
    oracle = theirs.DISTSNetwork()
    network = DISTS()
    convolutions = dict(backbone.features.state_dict())
    network.load_tensors(convolutions, weights.load(DISTS_WEIGHTS))
    first, second = pair(*size)
    with torch.inference_mode():
        torch.testing.assert_close(network(first, second).float(), oracle(first, second), atol=2e-5, rtol=0)
        assert network(first, first).abs().max() < 1e-6


def test_other_files_are_refused() -> None:
    with pytest.raises(UserError, match="the weights of DISTS have no 'alpha'"):
        DISTS().load_tensors({}, {"beta": torch.zeros(1475)})
