"""Extras: few packages are enough to load a tokenizer; one that is missing is named with what installs it."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from reference import ROOT

import lactok
from lactok import extras
from lactok.errors import UserError
from lactok.extras import MissingPackage, extras_named, missing_package

OWN = ("lactok", "baselines", "benchmarks", "reports")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = {"PIL": "pillow"} | extras.IMPORTED_AS
HIDE = """
import sys
from importlib.machinery import PathFinder
hidden = {hidden!r}
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def packages(*names: str) -> set[str]:
    """Packages of the project's dependencies (""), or of extras, those that they name included."""
    found: set[str] = set()
    for name in names:
        listed = PROJECT["optional-dependencies"][name] if name else PROJECT["dependencies"]
        for text in listed:
            inner = re.fullmatch(r"lactok\[(.*)\]", text)
            found |= packages(*inner[1].split(",")) if inner else {re.split(r"[<>=]", text)[0].replace("_", "-")}
    return found


def modules(names: set[str]) -> set[str]:
    """What packages are imported as."""
    imported = {package: module for module, package in PARTS.items()}
    return {imported.get(name, name.replace("-", "_")) for name in names}


OPTIONAL = modules(packages("all") - packages(""))


def without(hidden: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which packages cannot be found."""
    script = HIDE.format(hidden=sorted(hidden)) + code
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)


def command(module: str, *words: str) -> str:
    return f"import runpy\nsys.argv = ['x', *{list(words)!r}]\nrunpy.run_module({module!r}, run_name='__main__')"


def imports() -> Iterator[tuple[Path, str]]:
    for package in OWN:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.parent.name == "perf":  # which pytest runs
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    yield path, name.partition(".")[0]


@pytest.mark.slow
def test_every_import_is_of_a_package_that_pyproject_names() -> None:
    known = set(OWN) | set(sys.stdlib_module_names) | modules(packages("", "all", "pyiqa", "faces"))
    assert {(str(path), name) for path, name in imports() if name not in known} == set()


@pytest.mark.slow
def test_everything_that_is_installed_is_imported() -> None:
    # torch.utils.tensorboard, pandas and diffusers import them
    by_others = {"tensorboard", "pyarrow", "beautifulsoup4", "ftfy"}
    for_users = packages("scale", "codecs")  # packages that shard, spread or decode in programs of users
    assert modules(packages("", "all") - for_users) - by_others - {name for _, name in imports()} == set()


def test_the_citation_names_this_version() -> None:
    (version,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version == PROJECT["version"] == lactok.__version__


def test_about_ten_packages_are_the_base() -> None:
    assert len(packages("") - {"pyyaml"}) <= 10  # huggingface_hub brings pyyaml


class TestTheMessage:
    @pytest.mark.parametrize(
        ("module", "prefer", "extra"),
        [
            ("diffusers", (), "networks"),
            ("diffusers", ("preference",), "preference"),
            ("skimage.data", ("train", "tensorboard"), "train"),
            ("torch_fidelity.feature_extractor_inceptionv3", (), "networks"),
            ("cleanfid", ("geneval",), "recon"),
            ("matplotlib.figure", (), "reports"),
            ("peft", (), "train"),
        ],
    )
    def test_the_extra_that_is_asked_for_else_the_smallest(
        self, module: str, prefer: tuple[str, ...], extra: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(MissingPackage, match=re.escape(f"pip install 'lactok[{extra}]'")) as caught:  # noqa: SIM117
            with extras_named(prefer, "this test"):
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        package = module.partition(".")[0]
        assert str(caught.value).startswith(
            f"this test needs the package {PARTS.get(package, package)}".replace("_", "-")
        )

    @pytest.mark.parametrize("name", ["no_such_package", None, "torch.no_such_module", "diffusers.no_such_module"])
    def test_any_other_import_error_stays(self, name: str | None) -> None:
        with pytest.raises(ModuleNotFoundError) as caught, extras_named():
            raise ModuleNotFoundError("no", name=name)
        assert not isinstance(caught.value, UserError)

    def test_it_is_what_users_catch_and_crosses_processes(self) -> None:
        missing = missing_package("diffusers", what="flextok-tiny")
        assert isinstance(missing, UserError)
        assert isinstance(missing, ImportError)
        assert lactok.MissingPackage is MissingPackage
        again = pickle.loads(pickle.dumps(missing))
        assert (str(again), again.name, again.what) == (str(missing), "diffusers", "flextok-tiny")

    def test_a_metric_whose_library_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def version(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr("lactok.metrics.registry.version", version)
        with pytest.raises(MissingPackage, match=r"^the metric rfid needs the package torch-fidelity; .*\[recon\]"):
            lactok.metrics.registry.find("rfid").hashed()


@pytest.mark.slow
class TestWithoutTheExtras:
    def test_a_tokenizer_of_plain_torch_loads_and_works(self) -> None:
        code = (
            "import lactok, torch\n"
            "tok = lactok.load('llamagen-vq16-tiny')\n"
            "ids = tok.encode(torch.zeros(1, 3, 256, 256))\n"
            "print(tuple(ids.shape), tuple(tok.decode(ids).shape), 'jpeg' in lactok.list_tokenizers())\n"
            "print(lactok.spec('sdxl').name)"
        )
        done = without(OPTIONAL, code)
        assert done.stdout == "(1, 256) (1, 3, 256, 256) True\nsdxl\n", done.stderr

    @pytest.mark.parametrize(
        ("call", "what", "extra"),
        [
            ("load('flextok-tiny')", "flextok-tiny", "networks"),
            ("build('lactok-h')", "lactok-h", "networks"),
            ("evaluate('resize-8')", "lactok.evaluate", "recon"),
            ("compare('a', 'b')", "lactok.compare", "evaluation"),
        ],
    )
    def test_the_library_says_what_is_missing(self, call: str, what: str, extra: str) -> None:
        code = f"import lactok\ntry: lactok.{call}\nexcept lactok.MissingPackage as error: print(error)"
        line = rf"{what} needs the package [\w-]+; install it with: pip install 'lactok\[{extra}\]'\n"
        assert re.fullmatch(line, without(OPTIONAL, code).stdout)

    @pytest.mark.parametrize(
        ("words", "extra"),
        [
            (("benchmarks.recon", "--tokenizers", "llamagen-vq16-tiny"), "recon"),
            (("benchmarks.geneval", "--scenes"), "geneval"),
            (("benchmarks.preference", "--images", "."), "preference"),
            (("lactok.train", "vq", "--config", "lactok/training/configs/vq16-tiny.toml", "--data", "."), "train"),
            (("reports",), "reports"),
        ],
    )
    def test_a_command_says_it_in_one_line(self, words: tuple[str, ...], extra: str) -> None:
        done = without(OPTIONAL, command(*words))
        assert done.returncode == 2, done.stderr
        assert re.fullmatch(
            rf"error: .* needs the package [\w-]+; install it with: pip install 'lactok\[{extra}\]'\n", done.stderr
        )

    def test_a_bug_keeps_its_traceback(self) -> None:
        done = without({"lpips", "safetensors"}, command("benchmarks.recon", "--tokenizers", "llamagen-vq16-tiny"))
        assert done.returncode in (1, 3)
        assert "No module named 'safetensors'" in done.stderr
