"""The text encoder is on a device only while it computes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from lactok.nn import t5
from lactok.nn.t5 import CaptionFeatures, T5Config, T5Encoder, lent


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


def test_a_gpu_always_gets_as_many_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    class Lines:
        length = 3

        def is_cut(self, captions: Sequence[str]) -> list[bool]:
            return [False] * len(captions)

        def __call__(self, captions: list[str], device: str) -> tuple[Tensor, Tensor]:
            given.append(captions)
            return torch.tensor([[len(caption)] * 3 for caption in captions]), torch.ones(len(captions), 3)

    monkeypatch.setattr(t5, "lent", lambda encoder, device: nullcontext())
    for device, rows in (("cuda", [16, 16]), ("cpu", [16, 1])):
        given.clear()
        captions = CaptionFeatures(lambda ids, mask: ids[..., None].float(), Lines())  # type: ignore[arg-type]
        captions.prepare(["a" * n for n in range(1, 18)], torch.device(device))
        assert [len(lines) for lines in given] == rows
        features, mask = captions(["aaa", "a" * 17], torch.device("cpu"))
        assert features[:, 0, 0].tolist() == [3, 17]
        assert mask.shape == (2, 3)
