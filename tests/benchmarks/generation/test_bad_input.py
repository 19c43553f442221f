"""What users get wrong with generators of every family: one line, nothing lost; and what only looks wrong and works."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import small_generators
import torch
from small_generators import NAMES

from baselines.id_generator import IdGenerator
from benchmarks.ablation import __main__ as ablation
from benchmarks.generation import __main__ as generation
from benchmarks.geneval import __main__ as geneval
from benchmarks.preference import __main__ as preference
from benchmarks.table3 import __main__ as table3
from lactok import registry
from lactok.errors import UserError
from lactok.evaluation.results import load as load_result
from lactok.generate import main as generate
from lactok.nn import hart_checkpoint, loading
from lactok.weights import resolution

LONG = "a red bus " * 3400


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The weights of all small generators, which are registered as long as the module's tests run."""
    official = hart_checkpoint.PROMPT_SHA256
    small_generators.register()
    folder = tmp_path_factory.mktemp("weights")
    small_generators.write(folder)
    yield folder
    hart_checkpoint.PROMPT_SHA256 = official
    for name in NAMES:
        registry.GENERATORS.registered.pop(name)
    registry.TOKENIZERS.registered.pop("small-magvit")


@pytest.fixture
def small(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    monkeypatch.setenv("LACTOK_WEIGHTS", str(written))
    monkeypatch.setattr(loading, "_told", set())
    return tmp_path


def run(main: object, *words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])  # type: ignore[operator]
    assert stop.value.code == code


def error_of(capsys: pytest.CaptureFixture[str], main: object, *words: object) -> str:
    """The one line that a mistake gives; what a reader of a generator's results must know may stand before it."""
    capsys.readouterr()
    run(main, *words, code=2)
    *notes, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    said = ("its files were not opened here", "taken off")
    assert all(any(words in note for words in said) for note in notes), notes
    return line


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("caption", ["", LONG, "一辆红色的公共汽车", "حافلة 🚌", "a\x07red\x1bbus", "a <pad> </s> bus"])
def test_any_text_makes_a_finite_picture(small: Path, name: str, caption: str) -> None:
    made = registry.load_generator(name).generate([caption], [2**63 - 1])
    assert bool(made.isfinite().all())
    assert made.shape[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_cut_captions_are_counted_once_a_run_and_stand_in_the_result(
    small: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [LONG, "a red bus", f"two {LONG}", LONG]
    (small / "p.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    caplog.set_level(logging.WARNING, logger="lactok")
    words = ("--generators", name, "--prompts", small / "p.jsonl", "--samples", "1", "--out", small / "out")
    run(generation.main, *words)
    (said,) = [r.getMessage() for r in caplog.records if "longer than" in r.getMessage()]
    made = load_result(small / "out" / name).data.pictures.generator
    assert said.startswith(f"captions longer than {made.tokens} tokens: 2 of 3; {name} does not read their ends: a red")
    assert made.captions_cut == 2
    assert load_result(small / "out" / name).label == name


def test_without_a_cut_caption_the_result_says_nothing_of_them(small: Path) -> None:
    (small / "p.txt").write_text("a red bus\n")
    run(generation.main, "--generators", "small-hart", "--prompts", small / "p.txt", "--out", small / "out")
    assert "captions_cut" not in (small / "out" / "small-hart" / "result.json").read_text()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "prompt 2 is empty; say what the picture shows, as in 'a red bus'"),
        (" \t ", "prompt 2 is empty"),
        ("a\x07bus", "prompt 2 has the control character '\\x07'; write it without"),
        (None, 'prompt 2 has no "prompt" that is a text'),
        (7, 'prompt 2 has no "prompt" that is a text'),
    ],
)
def test_prompts_that_are_none(
    small: Path, name: str, prompt: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "p.jsonl").write_text(f'{{"prompt": "a bus"}}\n{json.dumps({"prompt": prompt})}\n')
    words = ("--generators", name, "--prompts", small / "p.jsonl", "--out", small / "out")
    assert message in error_of(capsys, generation.main, *words)
    assert not list((small / "out").rglob("*.png"))


OPTIONS = [
    ("small-llamagen@top_k=5000", "option top_k=5000: between 0 and 4096"),
    ("small-llamagen@top_k=-1", "option top_k=-1: between 0 and 4096"),
    ("small-llamagen@guidance=-1", "option guidance=-1: between 1 and 100"),
    ("small-llamagen@temperature=-0.1", "option temperature=-0.1: between 0 and 100"),
    ("small-llamagen@temperature=nan", "temperature"),
    ("small-llamagen@top_p=1.5", "option top_p=1.5: between 0 and 1"),
    ("small-show-o@guidance=-1", "option guidance=-1: between 0 and 100"),
    ("small-show-o@steps=0", "option steps=0: between 1 and 100"),
    ("small-show-o@temperature=0", "unknown option of small-show-o 'temperature'"),
    ("small-hart@guidance=-1", "option guidance=-1: between 0 and 100"),
    ("titok-l32-gen@steps=0", "option steps=0: between 1 and 1000"),
    ("lactokgen-t-star@top_k=20000", "option top_k=20000: between 0 and 16384"),
    ("llamagen-t2i-256@guidance=-2", "option guidance=-2: between 1 and 100"),
    ("sdxl@guidance=-1", "option guidance=-1"),
]


@pytest.mark.parametrize(("name", "message"), OPTIONS)
def test_options_out_of_range(small: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "p.txt").write_text("a red bus\n")
    with pytest.raises(UserError, match="option"):
        registry.load_generator(name)
    assert message in error_of(capsys, generate, "a red bus", "--generator", name, "--out", small / "out")
    where = ("--generators", name, "--out", small / "out")
    assert message in error_of(capsys, generation.main, *where, "--prompts", small / "p.txt")
    assert message in error_of(capsys, geneval.main, *where)
    assert message in error_of(capsys, preference.main, *where)
    assert message in error_of(capsys, table3.main, *where)


@pytest.mark.parametrize("options", ["temperature=0", "temperature=0,top_k=0,top_p=0.5", "temperature=0,guidance=1"])
def test_temperature_0_takes_the_likeliest_ids(small: Path, options: str) -> None:
    generator = registry.load_generator(f"small-llamagen@{options}")
    first, second = generator.generate(["a red bus"] * 2, [1, 2])
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1", None, True])
def test_seeds_out_of_range(small: Path, name: str, seed: object) -> None:
    with pytest.raises(ValueError, match="seeds are integers from 0 to 2"):
        registry.load_generator(name).generate(["a bus"], [seed])  # type: ignore[list-item]


OF_CLASSES = "makes pictures of ImageNet classes, not of prompts; it is measured by `python -m benchmarks.gfid"


def test_suites_of_texts_refuse_generators_of_classes(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--generators", "titok-l32-gen", "--out", small / "out")
    for main in (geneval.main, preference.main, table3.main):
        assert OF_CLASSES in error_of(capsys, main, *where)
    assert OF_CLASSES in error_of(capsys, ablation.main, "cfg", "--generator", "titok-l32-gen", "--out", small / "out")
    both = ("--generators", "small-hart titok-l32-gen", "--out", small / "out")
    assert OF_CLASSES in error_of(capsys, geneval.main, *both)
    assert not (small / "out").exists()


def test_other_conditions_are_refused_by_name(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.GENERATORS.entry("small-show-o")
    other = replace(entry, spec=replace(entry.spec, name="small-audio", condition="audio"))  # type: ignore[arg-type]
    monkeypatch.setitem(registry.GENERATORS.registered, "small-audio", other)
    (small / "p.txt").write_text("a red bus\n")
    said = "small-audio is conditioned on 'audio'; no suite measures that, only text or class"
    where = ("--generators", "small-audio", "--out", small / "out")
    for main, more in ((geneval.main, ()), (preference.main, ()), (generation.main, ("--prompts", small / "p.txt"))):
        assert said in error_of(capsys, main, *where, *more)


def test_a_class_out_of_range(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("1000", "-1", "１", "a dog"):
        arguments = (f"--prompts={small / 'c.txt'}", "--generator", "titok-l32-gen", "--out", small / "out")
        (small / "c.txt").write_text(word)
        assert "give a number from 0 to 999" in error_of(capsys, generate, *arguments)


# which file lies in the place of another, whose generator cannot be loaded then, and what the line says
WRONG_FILES = [
    ("small-llamagen", "llamagen-vq16-tiny", "small-llamagen", "its file holds an image tokenizer (VQ)"),
    ("small-llamagen", "small-show-o", "small-llamagen", "its file holds a Show-o of 1 layers 32 wide"),
    ("small-lactokgen", "small-magvit", "small-lactokgen", "its file holds Show-o's image tokenizer"),
    ("small-show-o", "small-magvit", "small-show-o", "its file holds Show-o's image tokenizer"),
    ("small-show-o", "small-llamagen", "small-show-o", "holds a transformer of LlamaGen's kind, 1 blocks 32 wide"),
    ("hart-0.7b", "hart-tokenizer", "small-hart", "its file holds HART's image tokenizer"),
    ("hart-tokenizer", "hart-0.7b", "small-hart", "its file holds a HART of 2 blocks 32 wide"),
    ("t5", "small-show-o", "small-llamagen", "t5 needs a T5 text encoder, and its file holds a Show-o"),
]


@pytest.mark.parametrize(("place", "wrong", "name", "said"), WRONG_FILES)
def test_a_file_of_another_network_says_what_it_is(
    written: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    wrong: str,
    name: str,
    said: str,
) -> None:
    folder = small / "weights"
    shutil.copytree(written, folder)
    bundled = Path(resolution.__file__).parents[1] / "bundled"
    (source,) = [
        p for root in (written, bundled) for p in root.glob(f"{wrong}.*") if p.suffix in (".pt", ".safetensors")
    ]
    for old in folder.glob(f"{place}.*"):
        if old.suffix in (".pt", ".safetensors"):
            old.unlink()
    shutil.copy(source, folder / f"{place}{source.suffix}")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))
    assert said in error_of(capsys, generate, "a red bus", "--generator", name, "--out", small / "a.png")


def test_a_checkpoint_of_another_size_says_both_sizes(
    written: Path, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    from lactok.nn.gpt import GPT

    folder = small / "weights"
    shutil.copytree(written, folder)
    larger = GPT(replace(small_generators.GPT_SHAPE, layers=2, width=64))
    save_file({k: v.clone() for k, v in larger.state_dict().items()}, folder / "small-llamagen.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))
    error = error_of(capsys, generate, "a red bus", "--generator", "small-llamagen", "--out", small / "a.png")
    assert "needs a transformer of LlamaGen's kind, 1 blocks 32 wide for 4096 codes" in error
    assert "its file holds a transformer of LlamaGen's kind, 2 blocks 64 wide for 4096 codes" in error


def test_a_text_tokenizer_of_another_model_is_refused(
    written: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small / "weights"
    shutil.copytree(written, folder)
    small_generators.words(folder / "words.json", [*small_generators.WORDS, "more"])
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))
    with pytest.raises(UserError, match="words has 14 tokens and small-show-o 13; is it the right file"):
        registry.load_generator("small-show-o")


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_keeps_what_is_finished(
    small: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "p.txt").write_text("a red bus\ntwo cat\na photo of the green bus\n")
    words = ("--generators", name, "--prompts", small / "p.txt", "--samples", "1", "--out", small / "out")
    factory = registry.GENERATORS.entry(name).factory
    method = "_images" if issubclass(factory, IdGenerator) else "_generate"
    original, calls = getattr(factory, method), 0

    def stop(self: object, made_of: object, seeds: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return original(self, made_of, seeds)

    with monkeypatch.context() as patched:
        patched.setattr(factory, method, stop)
        run(generation.main, *words, code=130)
    assert "run the same command again" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in (small / "out").rglob("*.png")}
    assert len(kept) == 2
    run(generation.main, *words)
    assert len(list((small / "out").rglob("*.png"))) == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    result = load_result(small / "out" / name)
    assert result.timed_images == 1  # type: ignore[attr-defined]
    assert "1 images" in capsys.readouterr().out
