"""Generators that predict ids, small and with random weights, from a caption to a picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import lend
from judges import DrawnColours, DrawnDetector
from PIL import Image
from safetensors.torch import save_file
from texts import TEXT, WORDS, words

import lactok
from baselines.llamagen_t2i import TextToIds
from baselines.show_o import ShowOGenerator
from baselines.titok_generator import TiTokGenerator
from lactok import registry
from lactok.generate import main
from lactok.nn.gpt import GPT, GPTConfig
from lactok.nn.maskgit_sampling import MaskGITSampling
from lactok.nn.show_o import ShowOConfig
from lactok.nn.titok_generator import MaskedTransformerConfig
from lactok.nn.token_sampling import Sampling, filtered
from lactok.specs import Asset, GeneratorSpec, Hub, Option

GPT_SHAPE = GPTConfig(32, 2, 4, 48, 64, 16, 120, 16)  # the test's tokenizer has 16 ids of 64 codes
SHOW_O = ShowOConfig(32, 1, 2, 48, 0.5, len(WORDS), 1, 12, 16, 64)
TITOK = MaskedTransformerConfig("uvit", 32, 2, 2, 48, 16, 64, 1000)


JSON = Hub("nobody/nothing", "tokenizer.json")  # says what kind of file the text tokenizer is


def spec(name: str, condition: Any, assets: tuple[str, ...], options: dict[str, Option] | None = None) -> GeneratorSpec:
    return GeneratorSpec(
        name,
        "small",
        condition,
        32,
        "MIT",
        tokenizer="toy",
        options=options or {},
        values={key: option.default for key, option in (options or {}).items()},
        assets=tuple(Asset(asset, "MIT", (JSON,) if asset == "words" else ()) for asset in assets),
    )


SAMPLING = {
    "guidance": Option(3.0, "", 1.0, 100.0),
    "temperature": Option(1.0, "", 0.0, 100.0),
    "top_k": Option(20, "", 0, 64),
    "top_p": Option(1.0, "", 0.0, 1.0),
    "cfg_interval": Option(-1, "", -1, 1000),
}
STEPS = {"steps": Option(4, "", 1, 100), "guidance": Option(2.0, "", 0.0, 100.0)}
SMALL: dict[str, tuple[Any, GeneratorSpec, dict[str, Any]]] = {
    "small-t2i": (
        TextToIds,
        spec("small-t2i", "text", ("gpt", "t5", "words"), SAMPLING),
        {"config": GPT_SHAPE, "text": TEXT},
    ),
    "small-show-o": (ShowOGenerator, spec("small-show-o", "text", ("show-o", "words"), STEPS), {"config": SHOW_O}),
    "small-titok": (
        TiTokGenerator,
        spec("small-titok", "class", ("titok",)),
        {"config": TITOK, "how": MaskGITSampling(4, 2.0, "power-cosine", temperature=2.0)},
    ),
}
CONDITIONS: dict[str, list[Any]] = {
    "small-t2i": ["a red bus", "two cat", "a photo of the green bus"],
    "small-show-o": ["a red bus", "two cat", "a photo of the green bus"],
    "small-titok": [1, 207, 999],
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """Small generators under their names, and their weights in a folder of the user's."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))
    lend(monkeypatch, registry.GENERATORS)
    words(folder / "words.json")
    for factory, made, arguments in SMALL.values():
        registry.register_generator(made, **arguments)(factory)
        torch.manual_seed(0)
        network = factory(made, **arguments)
        parts = {made.assets[0].name: network.get_submodule("model")}
        if factory is TextToIds:
            parts["t5"] = network.text.encoder
        for name, part in parts.items():
            tensors = {k: v.clone() for k, v in part.state_dict().items() if k != "encoder.embed_tokens.weight"}
            save_file(tensors, folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_depends_on_its_condition_and_its_seed_alone(small: Path, name: str) -> None:
    generator = registry.load_generator(name)
    conditions, seeds = CONDITIONS[name], [3, 4, 5]
    together = generator.generate(conditions, seeds)
    assert together.shape == (3, 3, 32, 32)
    for i, (condition, seed) in enumerate(zip(conditions, seeds, strict=True)):
        assert torch.equal(generator.generate([condition], [seed])[0], together[i])
    assert not torch.equal(generator.generate(conditions[:1], [4])[0], together[0])


def test_pictures_from_the_command_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures"

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as done:
            main([*arguments, "--generator", "small-t2i"])
        return int(str(done.value.code))

    assert run("a red bus", "two cat", "--samples", "2", "--out", str(out)) == 0
    files = sorted(path.name for path in out.iterdir())
    assert files == ["0000-0000.png", "0000-0001.png", "0001-0000.png", "0001-0001.png", "grid.png"]
    with Image.open(out / "grid.png") as grid, Image.open(out / "0001-0001.png") as last:
        assert grid.size == (64, 64)
        assert json.loads(last.info["lactok"])["prompt"] == "two cat"
        assert json.loads(last.info["lactok"])["seed"] == 1
        assert grid.crop((32, 32, 64, 64)).tobytes() == last.tobytes()
    # what is there is kept; what is damaged or of another prompt is made again
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    before = (out / "0000-0001.png").read_bytes()
    (out / "0000-0001.png").write_bytes(before[:100])
    assert run("a red bus", "green cat", "--samples", "2", "--out", str(out)) == 0
    assert "kept: 1 of 4" in capsys.readouterr().err
    assert (out / "0000-0001.png").read_bytes() == before
    assert (out / "0000-0000.png").stat().st_mtime_ns == times["0000-0000.png"]
    # the same prompt and seed alone
    assert run("a red bus", "--seed", "1", "--out", str(tmp_path / "a.png")) == 0
    assert (tmp_path / "a.png").read_bytes() == before
    # another dtype is another picture, and that one goes is said
    assert run("a red bus", "--seed", "1", "--dtype", "bfloat16", "--out", str(tmp_path / "a.png")) == 0
    assert "replacing a picture that is damaged or of another" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() != before


def test_a_picture_of_somebody_else_is_not_written_over(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = tmp_path / "holiday.png"
    Image.new("RGB", (8, 8), "red").save(photograph)
    before = photograph.read_bytes()
    with pytest.raises(SystemExit) as done:
        main(["a red bus", "--generator", "small-t2i", "--out", str(photograph)])
    assert done.value.code == 2
    assert "holiday.png is a picture that lactok did not make" in capsys.readouterr().err
    assert photograph.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no prompt"),
        (("",), "prompt 1 is empty"),
        (("a\x07bus",), "control character '\\x07'"),
        (("a", "b", "--out", "x.png"), "one file"),
        (("a", "--generator", "small-titok"), "a number from 0 to 999"),
        (("1000", "--generator", "small-titok"), "a number from 0 to 999"),
        (("a", "--generator", "small-t2i@top_k=100000"), "top_k=100000: between 0 and 64"),
        (("a", "--generator", "small-t2i@guidance=-1"), "guidance=-1: between 1 and 100"),
        (("a", "--seed", "-1"), "--seed -1: 0 or more"),
        (("a", "--samples", "0"), "--samples 0: 1 or more"),
        (("a", "--out", "bus.jpg"), "--out bus.jpg: pictures are written as PNG; name a .png file"),
    ],
)
def test_a_mistake_is_one_line(
    small: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--generator", "small-t2i", *arguments])
    assert done.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_weights_of_another_size_are_refused(small: Path) -> None:
    torch.manual_seed(0)
    save_file(dict(GPT(GPTConfig(32, 2, 4, 48, 100, 16, 120, 16)).state_dict()), small / "gpt.safetensors")
    with pytest.raises(registry.UserError, match=r"output.weight \(100, 32\)"):
        registry.load_generator("small-t2i")


def test_long_captions_are_said(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = registry.load_generator("small-t2i", temperature=0)
    generator.generate(["a " * 10_000, "a red bus"], [0, 0])
    assert "longer than 120 tokens" in caplog.text


def test_filters() -> None:
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    assert filtered(logits, Sampling(top_k=2, temperature=1.0)).count_nonzero() == 2
    assert filtered(logits, Sampling(top_k=0, top_p=0.5)).count_nonzero() == 1  # the one that exceeds 0.5 stays
    assert filtered(logits, Sampling(top_k=0, top_p=0.7)).count_nonzero() == 2
    assert filtered(logits, Sampling(top_k=100)).count_nonzero() == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small-t2i", "small-show-o"])
def test_through_geneval(small: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.geneval import detectors
    from benchmarks.geneval.__main__ import main as geneval

    monkeypatch.setitem(detectors.DETECTORS.registered, "drawn", DrawnDetector)
    monkeypatch.setitem(detectors.COLOUR_CLASSIFIERS.registered, "drawn", DrawnColours)
    options = ["--detector", "drawn", "--colours", "drawn", "--annotate", "none", "--threads", "1"]
    results = []
    for out in ("whole", "again"):
        with pytest.raises(SystemExit) as done:
            geneval(["--generators", name, "--samples", "1", "--limit", "3", *options, "--out", str(tmp_path / out)])
        assert done.value.code == 0
        (result,) = lactok.load_results(tmp_path / out).geneval
        results.append((result.folder / "result.json").read_bytes())
        if out == "whole":  # a killed run left some pictures; the rest is made again, the same
            pictures = sorted((tmp_path / out / "generated").rglob("samples/*.png"))
            assert len(pictures) == 3
            before = pictures[0].read_bytes()
            pictures[0].unlink()
            shutil.copytree(tmp_path / out / "generated", tmp_path / "again" / "generated")
    made = sorted((tmp_path / "again" / "generated").rglob("samples/*.png"))
    assert made[0].read_bytes() == before
    assert results[0] == results[1]
