"""Rules of the house: what is imported when, names, plug-ins, commands."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from conftest import lend
from reference import ROOT

import lactok
from lactok import registry
from lactok.errors import UserError
from lactok.randomness import noise, seed_of
from lactok.specs import TokenizerSpec

HEAVY = ("torch", "pandas", "diffusers", "transformers", "ray", "scipy", "skimage")
PACKAGES = ("lactok", "baselines", "benchmarks", "reports")


def commands() -> list[str]:
    """Every module that `python -m` runs, by the last lines of its file."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if '\nif __name__ == "__main__":\n    main()' in text and ("@command" in text or path.stem == "train"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.append(".".join(parts).removesuffix(".__main__"))
    return found


COMMANDS = commands()
# These answer under the name that users call them by: see test_console.py for `lactok`.
OTHER_NAMES = {"lactok.training": "lactok.train", "reports": "reports build", "reports.console": None}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys, runpy\nsys.argv = ['x', '--help']\ntry: runpy.run_module('{command}', run_name='__main__')\n"
        f"except SystemExit as stop: assert not stop.code\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert "loaded: []" in python(code)


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in COMMANDS if OTHER_NAMES.get(name, name)])
def test_a_wrong_argument_is_one_line(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", command, "--wrong"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert f"`python -m {OTHER_NAMES.get(command, command)} --help` explains the arguments" in done.stderr


@pytest.mark.slow
def test_importing_lactok_is_light() -> None:
    assert python(f"import sys, lactok; print([m for m in {HEAVY!r} if m in sys.modules])").strip() == "[]"


def test_the_commands_are_found() -> None:
    assert {"benchmarks.recon", "benchmarks.verify", "lactok.weights", "lactok.train", "reports"} <= set(COMMANDS)


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in a folder, by the contracts of this project."""
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    if not command.is_file():
        pytest.skip("import-linter is not installed")
    arguments = [command, str(ROOT / "pyproject.toml"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_imports_run_one_way() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_every_part_of_the_library_has_its_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in settings["contracts"] if c["id"] == "layers"]
    named = set(re.findall(r"[\w.]+", " ".join(layers)))
    parts = {
        f"lactok.{p.stem}" for p in (ROOT / "lactok").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()
    }
    # the front door, a command of one line, and a command that stands on the library as the suites do
    assert parts - named == {"lactok.__init__", "lactok.train", "lactok.generate"}


@pytest.mark.slow
def test_an_import_the_wrong_way_is_found(tmp_path: Path) -> None:
    """In a function, for type checkers alone, and by the front door."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=lambda folder, names: [n for n in names if not (n.endswith(".py") or Path(folder, n).is_dir())],
        )
    for file, line in (
        ("lactok/weights/cache.py", "def later() -> None:\n    from lactok.evaluation import config\n"),
        ("benchmarks/published.py", "if TYPE_CHECKING:\n    from baselines import llamagen\n"),
        ("lactok/nn/quantize.py", "import lactok\n"),
    ):
        with (tmp_path / file).open("a") as handle:
            handle.write(f"\n{line}")
    done = linted(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept, 3 broken" in done.stdout
    assert "lactok.weights is not allowed to import lactok.evaluation" in done.stdout
    assert "benchmarks.published -> baselines.llamagen" in done.stdout
    assert "lactok.nn.quantize -> lactok " in done.stdout


def named_modules(folder: Path, packages: Sequence[str]) -> list[str]:
    """Texts in a folder's code that name a module of these packages, but for commands: `python -m benchmarks.recon`."""
    names = "|".join(packages)
    pattern = re.compile(rf"(?<!python -m )\b({names})\.[A-Za-z_]|^({names})$")
    return [
        f"{path.relative_to(folder)}, line {node.lineno}: {node.value}"
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.search(node.value)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("lactok", ("baselines", "benchmarks", "reports")),
        ("baselines", ("benchmarks", "reports")),
        ("benchmarks", ("baselines", "reports")),
    ],
)
def test_no_text_names_a_module_above(package: str, above: Sequence[str]) -> None:
    assert named_modules(ROOT / package, above) == []


def test_a_text_that_names_a_module_above_is_found(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        '"""`python -m benchmarks.recon` is a command, benchmarks/recon a folder."""\n'
        'TABLE = {"toy": "baselines.toy:Toy", "baselines of others": 1}\n'
        'def score(name):\n    return ["python", "-m", "benchmarks.recon", f"benchmarks.{name}", "reports"]\n'
    )
    found = named_modules(tmp_path, ("baselines", "benchmarks", "reports"))
    assert [text.partition(", ")[2] for text in found] == [
        "line 2: baselines.toy:Toy",
        "line 4: benchmarks.recon",
        "line 4: reports",
    ]


@pytest.mark.slow
def test_what_stands_in_decorators_is_what_is_registered() -> None:
    """Names are read from files as text; importing every module registers the same."""
    code = (
        "import importlib, pkgutil\n"
        "from benchmarks.geneval import detectors\n"
        "from lactok import registry\n"
        "from lactok.metrics import registry as metrics, rewards\n"
        "for plugins in (registry.TOKENIZERS, registry.GENERATORS, metrics.METRICS, rewards.REWARDS,\n"
        "                detectors.DETECTORS, detectors.COLOUR_CLASSIFIERS):\n"
        "    for package in map(importlib.import_module, plugins.packages()):\n"
        "        for module in pkgutil.iter_modules(package.__path__):\n"
        "            if module.name != '__main__':\n"
        "                importlib.import_module(f'{package.__name__}.{module.name}')\n"
        "    assert plugins.own(), plugins.what\n"
        "    assert plugins.own().keys() == plugins.registered.keys(), plugins.what\n"
        "    for name, entry in plugins.registered.items():\n"
        "        assert name == (entry.key if plugins.what == 'metric' else entry.spec.name)\n"
    )
    python(code)


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
    monkeypatch.setattr(registry.TOKENIZERS, "points", lambda: points)
    lend(monkeypatch, registry.TOKENIZERS)
    assert "plugged" in lactok.list_tokenizers()
    assert lactok.spec("plugged").family == "test"
    with pytest.raises(UserError, match=r"plug-in 'broken' .*cannot be imported"):
        lactok.spec("broken")
    with pytest.raises(UserError, match="does not register 'silent'"):
        lactok.spec("silent")


def test_two_adapters_of_one_name_are_refused() -> None:
    spec = TokenizerSpec("identity", "x", 1, 2, 8, 8, "MIT")
    lactok.spec("identity")
    with pytest.raises(UserError, match="two tokenizers are named 'identity'"):
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "290.0 MB  to fetch  MIT " in run("list", "llamagen-vq16").stdout


@pytest.mark.slow
def test_no_command_imports_another() -> None:
    """A module whose `main` is a command is imported by nobody: what others need lies in modules of their own."""
    trees = {path: ast.parse(path.read_text()) for room in PACKAGES for path in sorted((ROOT / room).rglob("*.py"))}
    found = {dotted(path) for path, tree in trees.items() if any(is_command(node) for node in tree.body)}
    assert {"benchmarks.recon.__main__", "benchmarks.recon.exchange", "reports.__main__"} <= found
    wrong = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            base = node.module if isinstance(node, ast.ImportFrom) else None
            asked = {base, *(f"{base}.{name}" for name in names)} if base else set(names)
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in asked & found]
    assert wrong == ["lactok/train.py: lactok.training.__main__"]  # another name of the same command


def is_command(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", ())
    return any(isinstance(d, ast.Name) and d.id == "command" for d in decorators)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_the_tests_that_the_page_on_robustness_names_are_there() -> None:
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    for file, test in named:
        found = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
        assert any(re.search(rf"(def|class) {test}\b", text) for text in found) if test else found, (file, test)
