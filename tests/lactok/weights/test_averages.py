"""Averaged weights of Lightning's checkpoints under names without dots."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lactok.errors import UserError
from lactok.weights.averages import averaged


def checkpoint() -> dict[str, Tensor]:
    raw = {"encoder.conv_in.weight": 1.0, "quantize.embedding.weight": 2.0, "loss.discriminator.main.0.bias": 3.0}
    file = {name: torch.tensor(value) for name, value in raw.items()}
    file |= {f"model_ema.{name.replace('.', '')}": tensor + 10 for name, tensor in file.items()}
    return file | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(5)}


@pytest.mark.parametrize("prefix", ["", "state_dict."])
def test_averages_take_the_place_of_raw_weights(prefix: str) -> None:
    file = {f"{prefix}{name}": tensor for name, tensor in checkpoint().items()}
    if prefix:
        file |= {"epoch": torch.tensor(3), "optimizer_states.0.state.0.exp_avg": torch.ones(2)}
    values = {name: float(tensor) for name, tensor in averaged(file).items()}
    assert values == {"encoder.conv_in.weight": 11, "quantize.embedding.weight": 12}


def test_a_file_without_averages_gives_its_plain_weights(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = {name: tensor for name, tensor in checkpoint().items() if not name.startswith("model_ema.")}
    values = {name: float(tensor) for name, tensor in averaged(file).items()}
    assert values == {"encoder.conv_in.weight": 1, "quantize.embedding.weight": 2}
    assert "without averaged weights" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.conv_in.weight": 1.0}, "no average of decoder.conv_in.weight"),
        ({"model_ema.decoderconv_inweight": 1.0}, "averages of nothing: decoderconv_inweight"),
        ({"encoder.conv.in_.weight": 1.0, "model_ema.encoderconvin_weight": 1.0}, ""),
        ({"quantize.embeddingweight": 1.0}, "two weights have one name without dots"),
    ],
)
def test_averages_of_other_weights_are_refused(change: dict[str, float], message: str) -> None:
    file = checkpoint() | {name: torch.tensor(value) for name, value in change.items()}
    if not message:
        assert "encoder.conv.in_.weight" in averaged(file)
        return
    with pytest.raises(UserError, match=message):
        averaged(file)


def test_a_file_of_averages_alone_does_not_tell_their_names() -> None:
    file = {name: tensor for name, tensor in checkpoint().items() if name.startswith("model_ema.")}
    with pytest.raises(UserError, match="averages of nothing: encoderconv_inweight, quantizeembeddingweight"):
        averaged(file)
