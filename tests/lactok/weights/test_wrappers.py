"""What training scripts wrap around names is taken off where the result is the network's, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lactok
from lactok import weights
from lactok.errors import UserError
from lactok.nn import flextok_checkpoint, quantize, vqgan
from lactok.training.pretrained import load_parts
from lactok.weights import cache, wrappers
from lactok.weights.metadata import BUNDLED

pytestmark = pytest.mark.usefixtures("own_cache")


def network() -> nn.Module:
    """A small network, one of whose parts is named as wrappers are."""
    torch.manual_seed(0)
    parts = {"encoder": nn.Conv2d(3, 4, 1), "model": nn.Linear(4, 2), "norm": nn.BatchNorm1d(2)}
    return nn.ModuleDict(parts)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


OWN = network().state_dict()
OTHER = {name: torch.zeros_like(tensor) for name, tensor in OWN.items()}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (OWN, ""),
        (under("module.", OWN), "module. taken off 9 names"),
        (under("_orig_mod.", OWN), "_orig_mod. taken off 9 names"),
        (under("module._orig_mod.", OWN), "module._orig_mod. taken off 9 names"),
        (under("_orig_mod.module.", OWN), "_orig_mod.module. taken off 9 names"),
        (under("state_dict.model.", OWN), "state_dict.model. taken off 9 names"),
        (under("model.", OWN) | {"optimizer.0": torch.ones(1)}, "taken off 9 names; left out: 1 under optimizer"),
        (under("ema.", OWN), "ema. taken off 9 names"),
        (under("model.", OWN) | under("ema.", OTHER), "model. taken off 9 names; left out: 9 under ema"),
        (under("ema.", OTHER) | under("model.", OWN), "model. taken off 9 names; left out: 9 under ema"),
        (under("module.", OWN) | under("model_ema.", OTHER), "module. taken off 9 names; left out: 9 under model_ema"),
        (OWN | under("model_ema.", OTHER), "left out: 9 under model_ema"),
        (
            under("state_dict.", OWN | {"model_ema.encoderweight": torch.ones(1)}),
            "state_dict. taken off 9 names; left out: 1 under state_dict.model_ema",
        ),
        (
            {n.replace("encoder.", "encoder._orig_mod."): t for n, t in OWN.items()},
            "_orig_mod. taken off 2 names",
        ),
        ({n: t.bfloat16() if t.is_floating_point() else t for n, t in under("module.", OWN).items()}, "module. taken"),
        ({n: t.double() if t.is_floating_point() else t for n, t in under("module.", OWN).items()}, "module. taken"),
    ],
)
def test_peeled(file: dict[str, Tensor], said: str, caplog: pytest.LogCaptureFixture) -> None:
    module = network()
    module.load_state_dict(OTHER)
    with caplog.at_level(logging.INFO):
        weights.load_strict(module, file, "toy")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(said)
    assert not said or (lines[0].startswith("weights of toy: ") and said in lines[0])
    precise = next(iter(file.values())).dtype != torch.bfloat16
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == OWN[name].dtype
        expected = OWN[name] if precise or not tensor.is_floating_point() else OWN[name].bfloat16().float()
        assert torch.equal(tensor, expected)


def test_what_does_not_fit_is_named_after_peeling() -> None:
    file = under("model.module.", {n: t for n, t in OWN.items() if n != "encoder.bias"} | {"head.a": torch.ones(1)})
    with pytest.raises(wrappers.Unfit) as caught:
        weights.load_strict(network(), file, "toy")
    assert str(caught.value) == (
        "the weights do not fit toy: 1 missing (encoder.bias); 1 unexpected (head.a) without model.module.; "
        "tried as they are, without model., without model.module., without model.module.model. and 1 more; "
        "is it the right file?"
    )


def test_a_foreign_file_is_one_short_line() -> None:
    with pytest.raises(UserError) as caught:
        weights.load_strict(network(), {f"layer.{i}": torch.ones(1) for i in range(100)}, "toy")
    assert str(caught.value).startswith(
        "the weights do not fit toy: 8 missing (encoder.bias, encoder.weight, model.bia"
    )
    assert "100 unexpected (layer.0, layer.1, layer.10 and 97 more); is it the right file?" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_shape_decides_too() -> None:
    """Names alone do not: `model.` stays where the network has a part of that name."""
    file = {f"model.{name}": tensor for name, tensor in nn.Linear(4, 3).state_dict().items()}
    with pytest.raises(UserError, match=r"wrong shape|missing"):
        weights.load_strict(nn.ModuleDict({"model": nn.Linear(4, 2)}), file, "toy")


NESTINGS = st.lists(st.sampled_from(wrappers.WRAPPERS), max_size=4)


@pytest.mark.fuzz
@tries(150, 3000)
@given(NESTINGS, st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["", "encoder.", "norm."]))
@example(["state_dict", "model"], True, True, True, "encoder.")
@example(["ema"], False, True, False, "")
@example(["model", "model"], True, False, True, "norm.")
def test_any_nesting_comes_back(outer: list[str], beside: bool, average: bool, dropped: bool, inner: str) -> None:
    """Whatever is put around the names, the raw weights come back whole; one that is missing is always missed."""
    prefix = "".join(f"{part}." for part in outer)
    own = dict(OWN)
    inside = {n.replace(inner, f"{inner}_orig_mod.", 1) if inner and n.startswith(inner) else n: n for n in own}
    file = {prefix + stored: own[n] for stored, n in inside.items()}
    if beside and prefix:  # beside names without any prefix they would be of the network
        file |= {"optimizer.state.0": torch.ones(3), "args.lr": torch.ones(())}
    average = average and not any(part in wrappers.AVERAGES for part in outer)
    if average:
        file |= under("model_ema.module.", OTHER)
    found = wrappers.fitted(file, shapes(network()), "toy")
    assert found.keys() == own.keys()
    assert all(found[name] is own[name] for name in own)
    if dropped and not average:
        del file[next(name for name in file if name.endswith("weight"))]
        with pytest.raises(wrappers.Unfit) as caught:
            wrappers.fitted(file, shapes(network()), "toy")
        assert len(str(caught.value)) < 600
        assert "\n" not in str(caught.value)


class TestConverters:
    """A converter that does not know wrapped names gets them without wrappers."""

    @pytest.mark.parametrize("prefix", ["", "module.", "model.", "state_dict.module._orig_mod.", "model.module."])
    @pytest.mark.parametrize(
        ("convert", "official", "expected"),
        [
            (
                flextok_checkpoint.convert,
                ("vae.vae.a.b", "encoder.module_dict.enc_to_latents.proj.w"),
                "encoder.head.w",
            ),
            (vqgan.from_taming, ("encoder.down.0.block.1.w", "decoder.conv_in.w"), "encoder.conv_blocks.0.res.1.w"),
        ],
    )
    def test_wrapped(self, prefix: str, convert, official: tuple[str, ...], expected: str) -> None:
        tensors = {name: torch.ones(i + 1) for i, name in enumerate(official)}
        file = under(prefix, tensors) | ({"optimizer.0": torch.ones(1)} if "." in prefix.removesuffix(".") else {})
        found = wrappers.converted(file, convert, "toy")
        plain = convert(tensors)
        assert expected in found
        assert found == plain

    def test_official_choices_stay(self) -> None:
        """LlamaGen's own loader prefers the averaged weights, whatever stands first."""
        from baselines.llamagen import convert

        file = under("model.", OWN) | under("ema.module.", OTHER)
        assert all(not t.any() for t in wrappers.converted(file, convert, "toy").values())
        module = network()
        weights.load_strict(module, wrappers.converted(file, convert, "toy"), "toy")
        assert not module.state_dict()["encoder.weight"].any()

    def test_an_error_is_the_one_of_the_names_as_they_are(self) -> None:
        def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            raise KeyError(next(iter(tensors)))

        with pytest.raises(KeyError, match=r"module\.a"):
            wrappers.converted({"module.a": torch.ones(1)}, convert, "toy")


class TestUsersFiles:
    @pytest.mark.parametrize("prefix", ["module.", "state_dict.module._orig_mod."])
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_a_small_tokenizer(self, tmp_path: Path, monkeypatch, prefix: str, suffix: str) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        tensors = load_file(BUNDLED / "llamagen-vq16-tiny.safetensors")
        path = tmp_path / f"llamagen-vq16-tiny{suffix}"
        (save_file if suffix == ".safetensors" else torch.save)(under(prefix, tensors), path)
        found = lactok.load("llamagen-vq16-tiny").get_submodule("model").state_dict()
        assert all(torch.equal(found[name], tensor.float()) for name, tensor in tensors.items())

    def test_a_part_of_a_tokenizer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """FlexTok's small model takes its VAE from a file of its own, under names that begin with `vae.`"""
        expected = lactok.load("flextok-tiny").state_dict()
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        tensors = load_file(BUNDLED / "vae-tiny.safetensors")
        torch.save({"model": tensors, "optimizer": {"a": torch.ones(1)}}, tmp_path / "vae-tiny.pt")
        found = lactok.load("flextok-tiny").state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    def test_where_a_training_starts(self, tmp_path: Path) -> None:
        tensors = {name: tensor for name, tensor in OWN.items() if not name.startswith("norm")}
        save_file(under("module.", tensors), tmp_path / "a.safetensors")
        module = network()
        module.load_state_dict(OTHER)
        load_parts(module, ("encoder", "model"), str(tmp_path / "a.safetensors"), "encoder_weights")
        assert torch.equal(module.state_dict()["encoder.weight"], OWN["encoder.weight"])


class Masked(nn.Module):
    """A network with a mask, a statistic and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.mask_token = nn.Parameter(torch.zeros(3))
        self.register_buffer("causal_mask", torch.zeros(3))
        self.register_buffer("running_var", torch.ones(3))


class TestValues:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("key", ["weight", "mask_token", "causal_mask", "running_var"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_not_finite(self, value: float, key: str, dtype: torch.dtype) -> None:
        file = {k: v.to(dtype) for k, v in Masked().state_dict().items()}
        file[key][1] = value
        if key == "causal_mask" and value == -float("inf"):  # attention masks hold it
            module = Masked()
            weights.load_strict(module, file, "toy")
            assert module.causal_mask[1] == value
            return
        with pytest.raises(UserError) as caught:
            weights.load_strict(Masked(), file, "toy")
        assert str(caught.value) == (
            f"the weights of toy: its tensor {key} holds values that are not finite; damaged file, get it again"
        )

    def test_a_sum_may_overflow(self) -> None:
        module = Masked()
        weights.load_strict(module, Masked().state_dict() | {"weight": torch.full((3,), 3e38)}, "toy")
        assert module.weight[0] == 3e38

    def test_what_overflows_when_it_is_cast(self) -> None:
        with pytest.raises(UserError, match="its tensor weight holds values that are not finite"):
            weights.load_strict(
                Masked(), Masked().state_dict() | {"weight": torch.full((3,), 1e300, dtype=torch.float64)}, "toy"
            )

    @pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.complex64])
    def test_quantised(self, dtype: torch.dtype) -> None:
        with pytest.raises(UserError, match=r"its tensor weight holds torch\.\w+, where .* torch.float32"):
            weights.load_strict(Masked(), Masked().state_dict() | {"weight": torch.ones(3).to(dtype)}, "toy")

    def test_a_file_of_a_tokenizer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        tensors = load_file(BUNDLED / "llamagen-vq16-tiny.safetensors")
        tensors["encoder.conv_in.weight"].view(-1)[0] = float("nan")
        save_file(tensors, tmp_path / "llamagen-vq16-tiny.safetensors")
        with pytest.raises(UserError, match=r"encoder\.conv_in\.weight holds values that are not finite; damaged file"):
            lactok.load("llamagen-vq16-tiny")
        assert cache.load_safetensors(tmp_path / "llamagen-vq16-tiny.safetensors")  # the file itself is well formed


@pytest.mark.parametrize(
    ("dtype", "end"),
    [
        (torch.float32, "are not finite in float32"),
        (torch.bfloat16, "are not finite in bfloat16; use float32"),
        (torch.float16, "are not finite in float16; use bfloat16 or float32"),
    ],
)
def test_advice_is_another_dtype_than_the_one_that_ran(dtype: torch.dtype, end: str) -> None:
    features = torch.tensor([float("nan")]).to(dtype)
    with pytest.raises(UserError) as caught:
        quantize.check_finite(features)
    assert str(caught.value) == f"the encoder's features {end}"
    with (
        torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
        pytest.raises(UserError) as under_autocast,
    ):
        quantize.check_finite(features.float())
    assert str(under_autocast.value) == str(caught.value)
