"""Rules of the house: what is imported when, names, plug-ins, commands."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import lactok
from lactok import registry
from lactok.errors import UserError
from lactok.randomness import noise, seed_of
from lactok.specs import TokenizerSpec

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "pandas", "diffusers", "transformers", "ray", "scipy", "skimage")
COMMANDS = (
    "benchmarks.recon", "benchmarks.verify", "benchmarks.speed", "benchmarks.speed.reference_networks", "benchmarks.speed.suite",
    "benchmarks.ablation", "benchmarks.recon.exchange", "benchmarks.speed.reference_lactok", "benchmarks.geneval",
    "benchmarks.generation", "benchmarks.preference", "benchmarks.recon.retrieval", "benchmarks.scenes", "lactok.weights",
    "lactok.train", "reports",
)  # fmt: skip


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys, runpy\nsys.argv = ['x', '--help']\ntry: runpy.run_module('{command}', run_name='__main__')\n"
        f"except SystemExit as stop: assert not stop.code\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert "loaded: []" in python(code)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_argument_is_one_line(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", command, "--wrong"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert f"`python -m {command} --help` explains the arguments" in done.stderr


def test_importing_lactok_is_light() -> None:
    assert python(f"import sys, lactok; print([m for m in {HEAVY!r} if m in sys.modules])").strip() == "[]"


def test_imports_run_one_way() -> None:
    allowed = {"lactok": (), "baselines": ("lactok",), "benchmarks": ("lactok",), "reports": ("benchmarks", "lactok")}
    packages = set(allowed)
    for package, others in allowed.items():
        for path in (ROOT / package).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("import", "from"):
                    target = words[1].split(".")[0]
                    assert target not in packages - {package, *others}, f"{path}: {line}"


def test_a_plug_in_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug.py").write_text(
        "from lactok import Tokenizer, TokenizerSpec, register\n"
        "@register(TokenizerSpec('plugged', 'test', 1, 2, 8, 8, 'MIT'))\n"
        "class Plugged(Tokenizer):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {
        "plugged": EntryPoint("plugged", "plug:Plugged", "lactok.tokenizers"),
        "broken": EntryPoint("broken", "no_such_module:X", "lactok.tokenizers"),
        "silent": EntryPoint("silent", "json:loads", "lactok.tokenizers"),
    }
    monkeypatch.setattr(registry, "_plugins", lambda: points)
    assert "plugged" in lactok.list_tokenizers()
    assert lactok.spec("plugged").family == "test"
    with pytest.raises(UserError, match=r"plug-in 'broken' .*cannot be imported"):
        lactok.spec("broken")
    with pytest.raises(UserError, match="does not register 'silent'"):
        lactok.spec("silent")


def test_two_adapters_of_one_name_are_refused() -> None:
    spec = TokenizerSpec("identity", "x", 1, 2, 8, 8, "MIT")
    lactok.spec("identity")
    with pytest.raises(UserError, match="two adapters are named 'identity'"):
        lactok.register(spec)(lambda spec: None)


def test_an_adapter_that_forgets_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.TOKENIZERS.entry("llamagen-vq16-tiny")
    monkeypatch.setattr("baselines.llamagen.LlamaGenVQ.load_assets", lambda *_: None)
    assert entry.spec.assets
    with pytest.raises(UserError, match="tensors without weights"):
        lactok.load("llamagen-vq16-tiny")


def test_noise_belongs_to_an_image() -> None:
    seeds = torch.tensor([seed_of(0, "a"), seed_of(0, "b")])
    both = noise(seeds, (2, 3), "start")
    assert torch.equal(both[1:], noise(seeds[1:], (2, 3), "start"))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, noise(seeds, (2, 3), "posterior"))


def test_codecs_stay_within_their_bits_or_say_so() -> None:
    from skimage import data

    image = torch.from_numpy(data.astronaut()[:128, 160:288].copy()).permute(2, 0, 1)[None].float() / 255
    for name in ("jpeg", "webp", "avif"):
        _, bits = lactok.load(f"{name}@bits=8000").reconstruct(image)
        assert bits.item() <= 8000
        smaller, _ = lactok.load(f"{name}@bits=8000").reconstruct(image)
        larger, _ = lactok.load(f"{name}@bits=30000").reconstruct(image)
        assert (larger - image).square().mean() < (smaller - image).square().mean()
    _, bits = lactok.load("jpeg@bits=64").reconstruct(image)
    assert bits.item() > 64


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_the_codec_search_finds_what_trying_everything_finds(name: str) -> None:
    from PIL import Image
    from skimage import data

    from baselines.reference import SCALES

    codec = lactok.load(f"{name}@bits=6000")
    image = Image.fromarray(data.coffee()[100:164, 200:264])
    every = [
        codec._attempt(codec._encode_file(small, quality), image)  # type: ignore[operator]
        for scale in SCALES
        for small in [image.resize((round(64 * scale),) * 2, Image.Resampling.BICUBIC) if scale < 1 else image]
        for quality in range(codec.qualities[0], codec.qualities[1] + 1)  # type: ignore[index,operator]
    ]
    best = min((a for a in every if a.size <= 750), key=lambda a: a.squared_error)
    assert codec.search(image).squared_error == pytest.approx(best.squared_error)  # type: ignore[operator]


def test_weights_command(tmp_path: Path) -> None:
    environment = os.environ | {"LACTOK_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "lactok.weights"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)

    done = run("path", "fid-inceptio")
    assert done.returncode == 2
    assert "did you mean 'fid-inception'" in done.stderr
    done = subprocess.run(
        [*command, "path", "fid-inception"], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 2
    assert "not on this machine" in done.stderr
    assert "llamagen-vq16  [MIT]" in run("list").stdout
