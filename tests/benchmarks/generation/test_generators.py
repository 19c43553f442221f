"""Generators by name, diffusers' pipelines among them, and their pictures in a folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import plugged
from documents import code_of
from hub import ROOT
from PIL import Image
from torch import Tensor

import lactok
from baselines import diffusion
from benchmarks.generation import __main__ as generation
from benchmarks.generation.work import generate
from lactok import images, registry
from lactok.errors import UserError, WeightsNotFound
from lactok.evaluation import datasets
from lactok.evaluation.config import Settings
from lactok.evaluation.results import load as load_result
from lactok.randomness import noise, seed_of
from lactok.specs import GeneratorSpec, Option
from lactok.tokenizer import Generator

PAGE = ROOT / "docs" / "adding-a-generator.md"
GROUP = "lactok.generators"
STRENGTH = Option(1.0, "of the noise", 0.0, 2.0)
TOY = GeneratorSpec("toy-clouds", "test", "text", 32, "MIT", options={"strength": STRENGTH}, note="a toy")


@lactok.register_generator(TOY)
@lactok.register_generator(replace(TOY, name="toy-classes", condition="class", options={}))
class Clouds(Generator):
    """Noise whose mean is the length of a caption, or a class."""

    calls = 0

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        type(self).calls += len(conditions)
        size, strength = self.spec.output_size, float(self.spec.values.get("strength", 1.0))
        mean = torch.tensor([len(c) / 100 if isinstance(c, str) else c / 1000 for c in conditions])
        return mean.view(-1, 1, 1, 1) + 0.1 * strength * F.interpolate(noise(seeds, (3, 4, 4), "start"), size)


@lactok.register_generator(replace(TOY, name="toy-small", options={}))
class Small(Generator):
    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        return torch.zeros(len(conditions), 3, 16, 16)


@lactok.register_generator(replace(TOY, name="toy-nan", options={}))
class Overflowing(Generator):
    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        return torch.full((len(conditions), 3, 32, 32), torch.nan)


@pytest.fixture
def calls() -> type[Clouds]:
    Clouds.calls = 0
    return Clouds


class TestByName:
    def test_names_and_options(self) -> None:
        assert lactok.list_generators()[:4] == ["sd1.5", "sdxl", "sd3", "flux.1-dev"]
        spec = lactok.spec("sdxl@size=512,steps=30,guidance=9.0")
        assert spec.name == "sdxl@steps=30,size=512"
        assert spec.output_size == 512
        assert lactok.spec("sdxl@guidance=7.5").values["guidance"] == 7.5
        assert lactok.spec("sd1.5").values == {"steps": 50, "guidance": 9.0, "size": 512}
        assert "safety checker is off" in lactok.spec("sd1.5").note

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("sdxxl", "unknown generator 'sdxxl', did you mean 'sdxl'"),
            ("titok-s128", "unknown generator 'titok-s128'"),
            ("sdxl@step=3", "unknown option of sdxl 'step', did you mean 'steps'"),
            ("sdxl@size=100", "option size=100: a multiple of 64"),
            ("sdxl@", "options are missing after @"),
        ],
    )
    def test_mistakes_are_named(self, name: str, message: str) -> None:
        with pytest.raises(UserError, match=re.escape(message)):
            registry.generator_spec(name)

    def test_a_generator_is_no_tokenizer(self) -> None:
        assert not set(lactok.list_generators()) & set(lactok.list_tokenizers())
        with pytest.raises(UserError, match="unknown tokenizer 'sdxl'"):
            registry.tokenizer_spec("sdxl")

    @pytest.mark.parametrize("dtype", ["bf16", torch.int64])
    def test_a_dtype_that_is_none_is_named(self, dtype: object) -> None:
        for load, name in ((lactok.load, "identity"), (lactok.load_generator, "toy-clouds")):
            with pytest.raises(UserError, match="not a torch dtype to compute in"):
                load(name, dtype=dtype)

    def test_two_adapters_of_one_name_are_refused(self) -> None:
        with pytest.raises(UserError, match="two generators are named 'toy-clouds'"):
            lactok.register_generator(TOY)(Small)

    @pytest.mark.slow
    def test_infos_import_no_diffusers(self) -> None:
        code = (
            "import sys, lactok; [lactok.spec(n) for n in lactok.list_generators()]\n"
            "print('diffusers' in sys.modules, 'transformers' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.strip() == "False False", done.stderr


class TestGenerate:
    def test_a_picture_depends_on_its_condition_and_seed_alone(self) -> None:
        generator = lactok.load_generator("toy-clouds")
        both = generator.generate(["a cat", "two red cats"], seeds=[3, 4])
        assert both.shape == (2, 3, 32, 32)
        assert both.dtype == torch.float32
        assert both.min() >= 0
        assert both.max() <= 1
        assert torch.equal(both[1:], generator.generate(["two red cats"], seeds=[4]))
        assert not torch.equal(both[1:], generator.generate(["two red cats"], seeds=[5]))
        assert not torch.equal(both[1:], generator.generate(["a cat"], seeds=[4]))

    @pytest.mark.parametrize(
        ("conditions", "seeds", "message"),
        [
            ("a cat", [1] * 5, "not a string"),
            ([], [], "one condition or more"),
            (["a cat"], [1, 2], "not 1 and 2"),
            ([3], [1], "takes captions, not 3"),
            (["a cat"], [-1], "from 0 to 2^63 - 1, not -1"),
            (["a cat"], [1.0], "not 1.0"),
            (["a cat"], [2**63], "from 0 to 2^63 - 1"),
        ],
    )
    def test_bad_inputs(self, conditions: list[str], seeds: list[int], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            lactok.load_generator("toy-clouds").generate(conditions, seeds)

    @pytest.mark.parametrize("condition", ["a cat", 1000, -1, True])
    def test_bad_classes(self, condition: int) -> None:
        generator = lactok.load_generator("toy-classes")
        assert generator.generate([0, 999], [1, 2]).shape == (2, 3, 32, 32)
        with pytest.raises(ValueError, match="takes classes 0 to 999"):
            generator.generate([condition], [1])

    def test_bad_outputs(self) -> None:
        with pytest.raises(ValueError, match=r"of toy-small returns images \(1, 3, 16, 16\); its spec"):
            lactok.load_generator("toy-small").generate(["a cat"], [1])
        with pytest.raises(UserError, match="not finite"):
            lactok.load_generator("toy-nan").generate(["a cat"], [1])


PROMPTS = [{"tag": "x", "prompt": "a photo of a bench"}, {"prompt": "two café tables"}, {"prompt": "a red bus"}]


def make(folder: Path, name: str = "toy-clouds", prompts: list[dict] = PROMPTS, **changes: object) -> dict[str, bytes]:
    """The files that `generate` leaves, by their path in `folder`, but for what differs from run to run."""
    samples = int(changes.pop("samples", 2))  # type: ignore[call-overload]
    settings = Settings(**changes)  # type: ignore[arg-type]
    generate(name, prompts, folder, settings.run(), settings.execution(), samples=samples)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "run.json" and p.parent.name != "times")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard is the two pictures of a prompt."""
    monkeypatch.setattr(datasets, "SHARD", 2)


class TestPictures:
    def test_the_layout_is_genevals(self, tmp_path: Path, calls: type[Clouds]) -> None:
        made = make(tmp_path)
        assert list(made) == [
            *(
                f"{i:05}/{file}"
                for i in range(3)
                for file in ("metadata.jsonl", "samples/0000.png", "samples/0001.png")
            ),
            "generation.json",
            "records.parquet",
            "result.json",
        ]
        result = load_result(tmp_path)
        assert (result.suite, result.n, result.limit, result.label) == ("generation", 6, None, "toy-clouds")
        assert result.records["caption"].tolist()[::2] == [prompt["prompt"] for prompt in PROMPTS]
        assert made["00001/metadata.jsonl"] == b'{"prompt": "two caf\\u00e9 tables"}'
        note = json.loads(made["generation.json"])
        assert note.pop("settings")
        assert note == {"generator": "toy-clouds", "seed": 0, "samples": 2, "dtype": "float32"}
        generator = lactok.load_generator("toy-clouds")
        expected = images.to_uint8(generator.generate(["a red bus"], [seed_of(0, 2, 1)]), "nearest")[0]
        with Image.open(tmp_path / "00002" / "samples" / "0001.png") as picture:
            assert np.array_equal(np.asarray(picture), expected.permute(1, 2, 0).numpy())

    def test_only_what_is_missing_or_damaged_is_made(
        self, tmp_path: Path, calls: type[Clouds], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="lactok")
        whole = make(tmp_path)
        assert calls.calls == 6
        assert make(tmp_path) == whole
        assert calls.calls == 6
        cut = tmp_path / "00001" / "samples" / "0000.png"
        cut.write_bytes(cut.read_bytes()[:-40])
        (tmp_path / "00002" / "samples" / "0001.png").unlink()
        caplog.clear()
        assert make(tmp_path) == whole
        assert calls.calls == 8
        assert f"{cut} is damaged" in caplog.text

    def test_one_prompt_more_makes_its_pictures_alone(self, tmp_path: Path, calls: type[Clouds]) -> None:
        """And a folder that was moved makes none."""
        before = make(tmp_path / "made")
        after = make(tmp_path / "made", prompts=[*PROMPTS, {"prompt": "a green cup"}])
        assert calls.calls == 6 + 2
        assert {name for name in before if name.endswith(".png") and after[name] != before[name]} == set()
        (tmp_path / "made").rename(tmp_path / "moved")
        assert make(tmp_path / "moved", prompts=[*PROMPTS, {"prompt": "a green cup"}]) == after
        assert calls.calls == 8

    def test_an_interrupted_run_goes_on(
        self, tmp_path: Path, calls: type[Clouds], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = make(tmp_path / "whole")

        def stop(self: Generator, conditions: list[str], seeds: Tensor) -> Tensor:
            if Clouds.calls >= 9:
                raise KeyboardInterrupt
            return original(self, conditions, seeds)

        original = Clouds._generate
        with monkeypatch.context() as patched:
            patched.setattr(Clouds, "_generate", stop)
            with pytest.raises(KeyboardInterrupt):
                make(tmp_path / "halves")
        assert len(list((tmp_path / "halves").rglob("*.png"))) == 3
        assert make(tmp_path / "halves") == whole
        assert calls.calls == 12

    def test_parts_and_batches_make_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = make(tmp_path / "whole")
        first = make(tmp_path / "parts", part="1/2", batch_size=3)
        pictures = {name.partition("/")[0] for name in first if name.endswith(".png")}
        assert pictures == {"00000", "00002"}
        assert "result.json" not in first
        assert make(tmp_path / "parts", part="2/2") == whole

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seed": 1}, "seed 0 instead of 1"),
            ({"samples": 4}, "samples 2 instead of 4"),
            ({"dtype": "bfloat16"}, "dtype float32 instead of bfloat16"),
            ({"name": "toy-clouds@strength=0.5"}, "generator toy-clouds instead of toy-clouds@strength=0.5"),
            ({"prompts": [PROMPTS[1]]}, "holds pictures of another prompt"),
        ],
    )
    def test_pictures_of_another_run_are_left_alone(
        self, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        whole = make(tmp_path)
        with pytest.raises(UserError, match=re.escape(message)):
            make(tmp_path, **changes)  # type: ignore[arg-type]
        assert make(tmp_path) == whole

    def test_another_version_of_the_adapter_is_another_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(tmp_path)
        entry = registry.GENERATORS.registered["toy-clouds"]
        newer = replace(entry, spec=replace(entry.spec, version=2))
        monkeypatch.setitem(registry.GENERATORS.registered, "toy-clouds", newer)
        with pytest.raises(UserError, match="holds pictures of another run"):
            make(tmp_path)

    def test_somebodys_pictures_are_left_alone(self, tmp_path: Path) -> None:
        make(tmp_path)
        (tmp_path / "generation.json").unlink()
        with pytest.raises(UserError, match=r"without a generation\.json"):
            make(tmp_path)
        (tmp_path / "generation.json").write_text("{")
        with pytest.raises(UserError, match="damaged"):
            make(tmp_path)

    def test_classes_of_prompts(self, tmp_path: Path) -> None:
        assert "00000/samples/0001.png" in make(tmp_path, "toy-classes", [{"class": 207, "prompt": "a dog"}])
        needed = 'prompt 1 has no "class" that is a number from 0 to 999, which toy-classes needs'
        for wrong in ({"prompt": "a dog"}, {"class": 1000}, {"class": -1}, {"class": True}, {"class": 2.0}):
            with pytest.raises(UserError, match=needed):
                make(tmp_path, "toy-classes", [wrong])


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        generation.main(arguments)
    return int(str(stop.value.code or 0))


class TestCommand:
    def test_a_folder_a_generator(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "prompts.txt").write_text("a bench\n\n two cats \na dog\n")
        where = ("--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "out"), "--samples", "1")
        generators = ("--generators", "toy-clouds,toy-clouds@strength=0.5", *where)
        assert run(*generators, "--limit", "2", "--dry-run") == 0
        planned = "toy-clouds@strength=0.5: 2 prompts, 2 of 2 pictures to make; weights ready\n"
        assert capsys.readouterr().out.endswith(planned)
        assert not (tmp_path / "out").exists()
        assert run(*generators, "--limit", "2") == 0
        out, err = capsys.readouterr()
        assert "toy-clouds: a toy" in err
        assert f"written: {tmp_path / 'out' / 'toy-clouds@strength=0.5'}" in out
        assert {p.name for p in (tmp_path / "out" / "toy-clouds").iterdir()} == {
            "00001",
            "00002",
            "generation.json",
            "records.parquet",
            "result.json",
            "run.json",
            "times",
        }
        folder = tmp_path / "out" / "toy-clouds"
        assert (folder / "00002" / "metadata.jsonl").read_text() == '{"prompt": "a dog"}'
        drawn = {p: p.stat().st_mtime_ns for p in folder.rglob("*.png")}
        assert run(*generators) == 0  # the rest, with the same numbers and seeds
        assert len(list(folder.rglob("*.png"))) == 3
        assert {p: p.stat().st_mtime_ns for p in drawn} == drawn

    def test_one_that_fails_does_not_stop_the_others(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def absent(self: Generator) -> None:
            raise WeightsNotFound("weights not found: sdxl")

        monkeypatch.setattr(diffusion.Diffusion, "_hub_folder", absent)
        monkeypatch.delenv("LACTOK_WEIGHTS", raising=False)
        (tmp_path / "prompts.jsonl").write_text('{"prompt": "a bench", "tag": "x"}\n')
        where = ("--prompts", str(tmp_path / "prompts.jsonl"), "--out", str(tmp_path / "out"), "--samples", "1")
        assert run("--generators", "toy-nan sdxl toy-clouds", *where) == 3
        said = capsys.readouterr()
        assert "failed: toy-nan: toy-nan: its output is not finite" in said.err
        assert "not run: sdxl: weights not found: sdxl" in said.out
        assert (tmp_path / "out" / "toy-clouds" / "00000" / "samples" / "0000.png").is_file()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--generators", "toy-cloud"), "unknown generator 'toy-cloud', did you mean 'toy-clouds'"),
            (("--generators", " "), "--generators is empty"),
            (("--samples", "0"), "--samples 0: 1 or more"),
            (("--part", "3/2"), "--part 3/2: write I/N"),
            (("--prompts", "nowhere.txt"), "--prompts nowhere.txt: No such file or directory"),
            (("--prompts", "empty.txt"), "--prompts empty.txt: no prompt in it"),
            (("--prompts", "broken.jsonl"), "broken.jsonl line 2: not a JSON object"),
            (("--prompts", "other.jsonl"), 'prompt 1 has no "prompt" that is a text'),
            (("--weights", "nowhere"), "--weights nowhere: no such folder"),
            (("--device", "abacus"), "--device abacus: not a device"),
        ],
    )
    def test_a_users_mistake_is_one_line(
        self,
        tmp_path: Path,
        arguments: tuple[str, str],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("good.txt").write_text("a bench\n")
        Path("empty.txt").write_text("\n")
        Path("broken.jsonl").write_text('{"prompt": "a"}\n[1]\n')
        Path("other.jsonl").write_text('{"text": "a"}\n')
        given = {"--generators": "toy-clouds", "--prompts": "good.txt", "--out": "out"} | dict([arguments])
        assert run(*(word for pair in given.items() for word in pair)) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line != "toy-clouds: a toy"]
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {message}")
        assert not list(tmp_path.rglob("*.png"))

    def test_another_seed_in_the_same_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "prompts.txt").write_text("a bench\n")
        where = ("--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "out"), "--samples", "1")
        assert run("--generators", "toy-clouds", *where) == 0
        assert run("--generators", "toy-clouds", *where, "--seed", "1") == 2
        assert "seed 0 instead of 1" in capsys.readouterr().err.splitlines()[-1]

    @pytest.mark.slow
    def test_help_is_quick(self) -> None:
        code = (
            "import sys\nfrom benchmarks.generation import __main__ as generation\n"
            "try:\n    generation.main(['--help'])\nexcept SystemExit:\n    pass\n"
            "print([m for m in ('torch', 'pandas', 'diffusers', 'transformers', 'numpy') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, EntryPoint]]:
    """Entry points of generators that only this test has."""
    with plugged(monkeypatch, tmp_path, registry.GENERATORS) as points:
        yield points


def test_broken_plug_ins_are_named(plug: dict[str, EntryPoint]) -> None:
    plug["broken"] = EntryPoint("broken", "no_such_module:X", GROUP)
    plug["silent"] = EntryPoint("silent", "json:loads", GROUP)
    assert {"broken", "silent"} <= set(lactok.list_generators())
    with pytest.raises(UserError, match=r"plug-in 'broken' .*cannot be imported"):
        lactok.spec("broken")
    with pytest.raises(UserError, match="does not register 'silent'"):
        lactok.spec("silent")
    assert lactok.spec("toy-clouds").family == "test"


@pytest.mark.slow
def test_the_page_on_adding_a_generator_runs(
    plug: dict[str, EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written, the commands make the pictures that it lists, the script runs."""
    monkeypatch.chdir(tmp_path)
    for table in map(tomllib.loads, code_of(PAGE, "toml")):
        for name, value in table["project"]["entry-points"][GROUP].items():
            plug[name] = EntryPoint(name, value, GROUP)
    code = code_of(PAGE, "python")
    files = {match[1]: block for block in code if (match := re.match(r"# (\w+\.py)\n", block))}
    assert len(files) == len(plug) == 2
    for name, block in files.items():
        Path(name).write_text(block)
    for line in (line for block in code_of(PAGE, "sh") for line in block.splitlines()):
        if line.startswith("printf"):
            subprocess.run(line, shell=True, check=True)
        elif "benchmarks.generation" in line:
            assert run(*shlex.split(line)[3:]) == 0
    (listed,) = code_of(PAGE, "text")
    made = {p.as_posix() for p in Path("pictures").rglob("*") if p.is_file()}
    assert {name for name in made if name.startswith("pictures/clouds/")} == set(listed.split())
    assert "pictures/clouds@size=128/00001/samples/0001.png" in made
    scripts = [block for block in code if block not in files.values()]
    assert len(scripts) == 2
    for script in scripts:
        exec(compile(script, "page", "exec"), {"__name__": "__main__"})


@pytest.mark.slow
def test_a_generator_of_a_file(tmp_path: Path) -> None:
    """Made without an entry point, in this process and in others, and shown under its own name."""
    (tmp_path / "mine.py").write_text(
        "import torch, lactok\n"
        "class Grey(lactok.Generator):\n"
        '    spec = lactok.GeneratorSpec("grey", "test", "text", 8, "MIT")\n'
        "    def _generate(self, conditions, seeds):\n"
        "        return (seeds % 97).float()[:, None, None, None].expand(-1, 3, 8, 8) / 97\n"
    )
    (tmp_path / "prompts.txt").write_text("a red bus\na blue cat\n")
    name, found = f"{tmp_path}/mine.py:Grey", []
    for out, more in (("one", ()), ("two", ("--workers", "2"))):
        arguments = ("--generators", name, "--prompts", str(tmp_path / "prompts.txt"), "--samples", "2", *more)
        assert run(*arguments, "--out", str(tmp_path / out)) == 0
        made = tmp_path / out / "grey"
        found.append({str(p.relative_to(made)): p.read_bytes() for p in made.rglob("*.png")})
    assert found[0] == found[1]
    assert len(found[0]) == 4
    result = json.loads((tmp_path / "one" / "grey" / "result.json").read_text())
    assert result["pictures"]["generator"]["name"] == result["pictures"]["name"] == "grey"
