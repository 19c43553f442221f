"""The text encoder is on a device only while it computes."""

from __future__ import annotations

import torch

from lactok.nn.t5 import T5Config, T5Encoder, lent


def test_a_lent_encoder_leaves_the_device() -> None:
    torch.manual_seed(0)
    encoder = T5Encoder(T5Config(32, 1, 2, 16, 48, 100)).eval()
    ids, mask = torch.tensor([[5, 1, 0]]), torch.tensor([[1, 1, 0]])
    before = encoder(ids, mask)
    places = [parameter.data_ptr() for parameter in encoder.parameters()]
    with lent(encoder, torch.device("meta")):
        assert {parameter.device.type for parameter in encoder.parameters()} == {"meta"}
    assert [parameter.data_ptr() for parameter in encoder.parameters()] == places
    assert encoder(ids, mask).equal(before)
