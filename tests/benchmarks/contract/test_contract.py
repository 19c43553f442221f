"""`benchmarks.contract`: adapters that are wrong in one way each, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Toy, lend
from torch import Tensor

import lactok
from baselines.vqgan import VQGAN
from benchmarks.contract.__main__ import main
from benchmarks.contract.check import check, report
from benchmarks.contract.probe import Finding
from benchmarks.contract.random_weights import load_random
from lactok import registry
from lactok.nn.vqgan import VQConfig
from lactok.randomness import noise
from lactok.specs import Asset, Option, TokenizerSpec
from lactok.tokenizer import Reconstructor, Tokenizer

TOKENS = {"tokens": Option(16, "length", 1, 16)}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    lend(monkeypatch, registry.TOKENIZERS)


def define(cls: type[Reconstructor], **changes: Any) -> str:
    """Register a class under the name `wrong`, its spec the toy's but for the changes."""
    registry.register(replace(registry.TOKENIZERS.entry("toy").spec, **{"name": "wrong", **changes}))(cls)
    return "wrong"


def broken(findings: list[Finding]) -> dict[str, str]:
    return {f.rule: f.text for f in findings if f.state == "FAIL"}


Encode = Callable[[Tensor], Tensor]


def encoding(change: Callable[[Tensor], Any], before: Encode = lambda x: x) -> type[Toy]:
    class Wrong(Toy):
        def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
            return change(super()._encode(before(images), seeds))

    return Wrong


def decoding(change: Callable[[Tensor, Tensor], Tensor]) -> type[Toy]:
    class Wrong(Toy):
        def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
            return change(super()._decode(ids, seeds), seeds)

    return Wrong


class BatchNoise(Toy):
    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(seeds[0]))  # one draw for the whole batch
        out = super()._decode(ids, seeds)
        return out + 0.1 * torch.randn(out.shape, generator=generator)


class InPlace(Toy):
    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return super()._encode(images.mul_(0.5), seeds)


class Unchecked(Toy):
    def encode(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        return self._encode(images, torch.zeros(len(images)))


class Renamed(Toy):
    def __init__(self, spec: TokenizerSpec):
        super().__init__(replace(spec, name="other"))


class OwnBits(Toy):
    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        out, bits = super().reconstruct(images, seeds)
        return out, bits / 2


class OneByOne(Toy):
    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return super()._decode(ids[:1], seeds)


class FullPrecision(Toy):
    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return super()._decode(ids, seeds).lerp(torch.eye(32) @ torch.eye(32), 0.1)  # no mixed dtypes in lerp


class OnlyEncode(Tokenizer):
    _encode = Toy._encode


class Fails(Toy):
    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return images @ torch.ones(7, 7)


class FailsAtOnce(Toy):
    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec)
        raise KeyError("depth")


class NoPrefix(Toy):
    """Ignores `tokens`."""


class Backwards(Toy):
    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return super()._encode(images, seeds)[:, -int(self.spec.tokens or 0) :]

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return super()._decode(torch.cat([ids, ids.new_zeros(len(ids), 16 - ids.shape[1])], 1), seeds)


class FixedLength(Toy):
    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return super()._encode(images, seeds)[:, : self.spec.tokens]


class TooBright(Reconstructor):
    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return images * 1.05, torch.ones(len(images), dtype=torch.float64)


class Nothing(Reconstructor):
    """Neither ids nor a `reconstruct`."""


BITLESS = {"tokens": None, "codebook_size": None}

WRONG: list[tuple[str, type[Reconstructor], dict[str, Any], str, str]] = [
    ("int32 ids", encoding(Tensor.int), {}, "dtype of ids", "int32 instead of int64; end `_encode` with .long()"),
    ("float ids", encoding(Tensor.float), {}, "dtype of ids", "float32 instead of int64"),
    ("an id too few", encoding(lambda x: x[:, :-1]), {}, "shape of ids", "(3, 15), the spec promises (B, tokens)"),
    ("a grid of ids", encoding(lambda x: x.view(-1, 4, 4)), {}, "shape of ids", "flatten the ids"),
    ("a tuple", encoding(lambda x: (x, 0)), {}, "shape of ids", "a tuple instead of a tensor"),
    ("ids too high", encoding(lambda x: x + 40), {}, "codebook", "codebook_size=64 allows 0 to 63"),
    ("negative ids", encoding(lambda x: x - 40), {}, "codebook", "ids from -"),
    ("batch statistics", encoding(lambda x: x, lambda x: x / x.amax((0, 2, 3), True)), {}, "neighbours: ids", "differ"),
    ("random ids", encoding(lambda x: (x + torch.randint(9, x.shape)) % 64), {}, "same ids twice", "lactok.randomness"),
    ("changes the images", InPlace, {}, "input left alone", "2 * x - 1"),
    ("checks nothing", Unchecked, {}, "wrong input", "leave `encode`, which checks, as it is"),
    ("[-1, 1]", decoding(lambda x, _: 2 * x - 1), {}, "range of the output", "return (x + 1) / 2"),
    ("0..255", decoding(lambda x, _: 255 * x), {}, "range of the output", "return x / 255"),
    ("normalised", decoding(lambda x, _: (x - 0.45) / 0.22), {}, "range of the output", "x * std + mean"),
    ("scaled twice", decoding(lambda x, _: x / 255), {}, "range of the output", "scaled down twice"),
    ("NaN", decoding(lambda x, _: x.where(x > 0.2, torch.nan)), {}, "range of the output", "NaN or infinite"),
    ("uint8", decoding(lambda x, _: (255 * x).byte()), {}, "dtype of the output", "`_decode` gives uint8"),
    ("half the size", decoding(lambda x, _: x[..., ::2, ::2]), {}, "shape of the output", "promises (3, 3, 32, 32)"),
    ("mean of the batch", decoding(lambda x, _: x + x.mean(0)), {}, "neighbours: pixels", "statistics over the batch"),
    ("torch.randn", decoding(lambda x, _: x + torch.randn(x.shape) / 9), {}, "same pixels twice", "by torch.randn"),
    ("a draw a batch", BatchNoise, {}, "neighbours: pixels", "from its own seed"),
    ("other info", Renamed, {}, "loading", "not the registered one in name"),
    ("own bits", OwnBits, {}, "bits", "spec says 96.0, reconstruct 48.0"),
    ("only the first", OneByOne, {}, "shape of the output", "(1, 3, 32, 32)"),
    ("float32 only", FullPrecision, {}, "bfloat16", "under autocast"),
    ("no _decode", OnlyEncode, {}, "structure", "lacks `_encode` or `_decode`"),
    ("no reconstruct", Toy, BITLESS, "structure", "has no `reconstruct`"),
    ("nothing at all", Nothing, BITLESS, "structure", "has no `reconstruct`"),
    ("ids without coding", TooBright, {}, "structure", "which is no lactok.Tokenizer; derive the class from it"),
    ("no licence", Toy, {"license": " "}, "information", "no licence"),
    ("an asset without", Toy, {"assets": (Asset("llamagen-vq16-tiny", ""),)}, "information", "of each Asset"),
    ("a fit of its own", Toy, {"fit": "pad"}, "information", "fit='pad'; write one of crop, squash"),
    ("a filter of its own", Toy, {"resample": "lanczos"}, "information", "write one of bicubic-aa, bilinear-aa"),
    ("half a codebook", Toy, {"codebook_size": None}, "information", "write both"),
    ("a fraction", Toy, {"codebook_size": 64.0}, "information", "codebook_size=64.0; write a whole number"),
    ("too many codes", Toy, {"codebook_size": 2**64}, "information", "codebook_size is above 2^63"),
    ("levels of others", Toy, {"levels": (4, 11)}, "information", "their sum is tokens=16"),
    ("no size", Toy, {"input_size": None}, "information", "`input_size`"),
    ("a bad default", Toy, {"options": {"x": Option(9, "", 1, 8)}}, "information", "option x=9: between 1 and 8"),
    ("a bad name", Toy, {"name": "wrong, very"}, "registered", "cannot be written on a command line"),
    ("ignores tokens", NoPrefix, {"options": TOKENS}, "prefix", "(3, 16) instead of (3, 8); return ids[:, :"),
    ("the last ids", Backwards, {"options": TOKENS}, "prefix", "must give the first 8 ids"),
    ("one length", FixedLength, {"options": TOKENS}, "prefix", "RuntimeError"),
    ("two lengths", Toy, {"options": {"tokens": Option(8, "", 1, 16)}}, "information", "default 8; make them equal"),
    ("an exception", Fails, {}, "shape of ids", "mat1 and mat2 shapes cannot be multiplied"),
    ("an early one", FailsAtOnce, {}, "structure", "KeyError: 'depth'"),
    ("over white", TooBright, BITLESS, "range of the output", "end reconstruct with .clamp(0, 1)"),
    ("ids and continuous", Toy, {"kind": "continuous"}, "information", "is for rows without ids"),
]


@pytest.mark.parametrize(("cls", "changes", "rule", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_wrong_is_named(cls: type[Reconstructor], changes: dict[str, Any], rule: str, words: str) -> None:
    define(cls, **changes)
    found = broken(check(changes.get("name", "wrong")))
    assert words in found.get(rule, ""), found
    assert all("\n" not in text for text in found.values())


def test_an_exception_is_one_finding_with_its_line() -> None:
    define(Fails)
    found = broken(check("wrong"))
    (line,) = (i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "return images @" in text[:24])
    assert list(found) == ["shape of ids"]
    assert found["shape of ids"].endswith(f"({__file__}, line {line})")


def test_a_constructor_that_fails_is_one_finding() -> None:
    define(FailsAtOnce)
    assert list(broken(check("wrong"))) == ["structure"]


def test_a_function_that_makes_something_else_is_named() -> None:
    registry.register(replace(registry.TOKENIZERS.entry("toy").spec, name="wrong"))(lambda spec: torch.nn.Identity())
    assert "no lactok.Tokenizer" in broken(check("wrong"))["structure"]


def test_wrong_ids_are_one_finding() -> None:
    """What encode gives is looked at raw: its own refusal of such ids would hide what is wrong with them."""
    define(encoding(Tensor.int))
    assert list(broken(check("wrong"))) == ["dtype of ids"]


def test_a_missing_reconstruct_is_one_finding() -> None:
    define(Toy, **BITLESS)
    assert list(broken(check("wrong"))) == ["structure"]


def test_a_class_of_a_file_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, lactok\n"
        "class Grey(lactok.Tokenizer):\n"
        "    spec = lactok.TokenizerSpec('grey', 'test', 1, 256, 32, 32, 'MIT')\n"
        "    def _encode(self, images, seeds):\n"
        "        return (images.mean((1, 2, 3)) * 255).round().long()[:, None]\n"
        "    def _decode(self, ids, seeds):\n"
        "        return (ids[:, :, None, None] / 255 + torch.linspace(-0.3, 0.3, 32)).expand(-1, 3, 32, 32)\n"
    )
    assert broken(check(f"{file}:Grey")) == {}


def test_two_packages_of_adapters_with_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.TOKENIZERS, "packages", lambda: ("baselines", "baselines"))
    text = broken(check("identity"))["registered"]
    assert text.startswith("package baselines and package baselines have the name 'identity'")


def test_noise_from_the_seeds_is_right() -> None:
    define(decoding(lambda x, seeds: x + 0.05 * noise(seeds, (3, 32, 32), "grain")))
    assert broken(check("wrong")) == {}


@pytest.mark.parametrize("name", ["toy", "identity", "resize-12", "jpeg@bits=9000"])
def test_what_is_right_holds(name: str) -> None:
    findings = check(name)
    assert [f for f in findings if f.state != "ok"] == []
    assert ("codebook" in {f.rule for f in findings}) == (name == "toy")


def test_the_command_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    define(encoding(Tensor.int))
    for name, code in (("toy", 0), ("wrong", 3), ("toyy", 2), ("toy@x=1", 2)):
        with pytest.raises(SystemExit) as stop:
            main([name])
        assert stop.value.code == code
    out, err = capsys.readouterr()
    assert "ok    codebook" in out
    assert "FAIL  dtype of ids         int32 instead of int64" in out
    assert "wrong: 16 rules hold, 1 broken, 1 not tried" in out
    assert "did you mean 'toy'" in err
    assert "unknown option" in err


def test_missing_weights_are_the_users(capsys: pytest.CaptureFixture[str], own_cache: Path) -> None:
    define(Toy, assets=(Asset("nowhere", "MIT"),))
    with pytest.raises(SystemExit) as stop:
        main(["wrong"])
    assert stop.value.code == 2
    assert "weights not found: nowhere" in capsys.readouterr().err


def test_the_report_counts() -> None:
    findings = [Finding("a", "ok", "x"), Finding("bc", "FAIL", "y"), Finding("d", "-", "not tried: z")]
    expected = "ok    a   x\nFAIL  bc  y\n-     d   not tried: z\nN: 1 rules hold, 1 broken, 1 not tried"
    assert report("N", findings) == expected


@pytest.mark.slow
def test_random_weights_take_the_place_of_files_that_nobody_has(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A convolutional network; it reaches every rule but the one of the output's range, and no file is asked for."""
    small = VQConfig(32, (1, 1, 2), 1, 16, 64, 8, l2_norm=False, usage_buffer=False)
    spec = replace(lactok.spec("vqgan-f16-1024"), name="wrong", tokens=256, codebook_size=64, input_size=64)
    registry.register(replace(spec, output_size=64), config=small)(VQGAN)
    with pytest.raises(SystemExit) as stop:
        main(["wrong", "--random-weights"])
    out = capsys.readouterr().out
    assert stop.value.code == 0, out
    assert "finite; of random weights no range is asked" in out
    assert "none broken" in out
    assert "not tried" not in out
    first, second = (load_random("wrong").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not own_cache.exists()
    with pytest.raises(SystemExit) as stop:
        main(["wrong", "--random-weights", "--weights", "here"])
    assert stop.value.code == 2
    assert "--weights does not go with --random-weights, which reads no files" in capsys.readouterr().err
