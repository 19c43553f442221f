"""Weights of a byte a number: what is read again is within the error that is promised, and networks load it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lactok.errors import UserError, WrongValue
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.weights import load_strict
from lactok.weights.__main__ import main
from lactok.weights.cache import load_safetensors
from lactok.weights.metadata import BUNDLED, notes
from lactok.weights.packing import SCALE, pack, packed, unpacked


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(12, 8, 3, 3, generator=generator) * torch.logspace(-4, 2, 12).view(-1, 1, 1, 1),
        "conv.bias": torch.randn(12, generator=generator),
        "codes": torch.randn(64, 8, generator=generator),
        "zeros": torch.zeros(3, 100),
        "steps": torch.arange(5),
    }


def test_rows_are_within_half_a_step_and_the_rest_is_as_it_was() -> None:
    given = tensors()
    small = packed(given)
    assert {name for name, tensor in small.items() if tensor.dtype == torch.int8} == {"conv.weight", "zeros"}
    found = unpacked(small)
    assert found.keys() == given.keys()
    largest = given["conv.weight"].flatten(1).abs().amax(1)
    error = (found["conv.weight"] - given["conv.weight"]).flatten(1).abs().amax(1)
    assert bool((error <= largest / 254 * 1.0001).all())
    assert torch.equal(found["zeros"], given["zeros"])
    assert torch.equal(found["codes"], given["codes"].half())
    assert torch.equal(found["conv.bias"], given["conv.bias"].half())
    assert torch.equal(found["steps"], given["steps"])
    assert all(unpacked(given)[name] is tensor for name, tensor in given.items())


def test_a_packed_file_loads_as_the_whole_one_with_its_notes(tmp_path: Path) -> None:
    source, target = BUNDLED / "llamagen-vq16-tiny.safetensors", tmp_path / "small.safetensors"
    before, after = pack(source, target)
    assert after < 0.6 * before
    assert notes(target) == notes(source)
    found, given = load_safetensors(target), load_safetensors(source)
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert found[name].shape == tensor.shape
        assert float((found[name].float() - tensor.float()).abs().max()) <= float(tensor.abs().max()) / 200
    shapes = load_safetensors(target, "meta")
    assert {n: (t.shape, t.is_floating_point()) for n, t in shapes.items()} == {
        n: (t.shape, t.is_floating_point()) for n, t in found.items()
    }


def test_a_network_loads_packed_weights(tmp_path: Path) -> None:
    config = TiTokConfig((64, 1, 2), (64, 1, 2), 4, 32, 4, image_size=32, patch=8, legacy=False, l2_norm=False)
    torch.manual_seed(0)
    network, again = TiTok(config), TiTok(config)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    pack(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    load_strict(again, load_safetensors(tmp_path / "b.safetensors"), "small")
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_features(images), network.encode_features(images), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", ["packed", "infinite", "damaged", "missing", "scales"])
def test_mistakes_are_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.safetensors"
    given = tensors()
    if kind == "infinite":
        given["conv.weight"][0, 0, 0, 0] = torch.inf
    if kind != "missing":
        save_file(packed(given) if kind in ("packed", "scales") else given, file)
    if kind == "damaged":
        file.write_bytes(file.read_bytes()[:100])
    if kind == "scales":
        wrong = load_file(file)
        wrong["conv.weight" + SCALE] = torch.ones(5)
        save_file(wrong, file)
        with pytest.raises(UserError, match=r"its scales of conv\.weight do not fit"):
            load_safetensors(file)
        return
    said = {
        "packed": "packed already",
        "infinite": "conv.weight is not finite",
        "damaged": "not a safetensors file, or damaged",
        "missing": "no such file of weights",
    }[kind]
    with pytest.raises(SystemExit) as stop:
        main(["pack", str(file), "--out", str(tmp_path / "b.safetensors")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b.safetensors").exists()


def test_the_command_says_how_much_it_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"w": torch.randn(100, 1000)}, tmp_path / "a.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["pack", str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "b.safetensors")])
    assert not stop.value.code
    assert "0.1 MB, 0.4 MB before" in capsys.readouterr().out
    with pytest.raises(WrongValue, match="packed already"):
        packed(load_file(tmp_path / "b.safetensors"))


def test_what_float16_cannot_hold_stays_as_it_is() -> None:
    given = {
        "large": torch.tensor([1.0, 1e6]),
        "small": torch.tensor([1.0, 3e-9]),
        "codes": torch.full((4, 8), 7e4),
        "empty": torch.zeros(0, 4),
        "plain": torch.tensor([0.0, 0.5, 3.0]),
    }
    small = packed(given)
    for name in ("large", "small", "codes"):
        assert torch.equal(small[name], given[name])
    assert small["plain"].dtype == torch.float16
    assert unpacked(small)["empty"].shape == (0, 4)


@pytest.mark.parametrize(("out", "said"), [("a.safetensors", "is there already"), ("b.pt", "name it so")])
def test_no_file_is_replaced(out: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"w": torch.randn(100, 100)}, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["pack", str(tmp_path / "a.safetensors"), "--out", str(tmp_path / out)])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert not (tmp_path / "b.pt").exists()
