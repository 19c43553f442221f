"""What is installed: the wheel with all that is no code, and a clone in which one sits above."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from environments import ROOT, python

pytestmark = pytest.mark.slow  # other processes

FOLDERS = ("lactok", "baselines", "benchmarks", "reports")


def uv(*arguments: str, cwd: Path) -> None:
    """Run uv, which brings the build backend; without it, or out of its reach, the test is skipped."""
    found = shutil.which("uv")
    if found is None:
        pytest.skip("uv is not here, which builds the package")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, cwd=cwd)
    unreachable = ("Could not connect", "error sending request", "not found in the cache", "Failed to fetch")
    if done.returncode and any(text in done.stderr for text in unreachable):
        pytest.skip("the build backend hatchling cannot be had here")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named as the package, with what a wheel is made of."""
    folder = tmp_path_factory.mktemp("home") / "lactok"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_wheel_holds_everything(clone: Path, tmp_path: Path) -> None:
    uv("build", "--wheel", "--out-dir", str(tmp_path), str(clone), cwd=tmp_path)
    (wheel,) = tmp_path.glob("lactok-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        inside = set(opened.namelist())
    outside = {p.relative_to(clone).as_posix() for n in FOLDERS for p in (clone / n).rglob("*") if p.is_file()}
    assert outside - inside == set()
    assert {
        "lactok/py.typed",
        "lactok/bundled/llamagen-vq16-tiny.safetensors",
        "benchmarks/published.json",
        "benchmarks/scenes/scenes-tiny.toml",
        "reports/page/static/index.html",
        "reports/page/static/vendor/d3.js",
        "reports/page/static/vendor/d3.license.txt",
    } <= inside
    assert any(name.startswith("lactok/training/configs/") for name in inside)


def test_a_clone_as_the_documentation_makes_it_is_no_package(tmp_path: Path) -> None:
    """Beside a folder `lactok`, a Python without lactok would import that folder, an empty package."""
    texts = [path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    folders = [match for text in texts for match in re.findall(r"git clone \S+(?: +([\w.-]+))?", text)]
    assert folders
    for name in folders:
        assert name, "the clone has a name of its own, since the repository's is lactok"
        assert name != "lactok"
        (tmp_path / name / "lactok").mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import lactok"], capture_output=True, text=True, cwd=tmp_path, env={}
    )
    assert done.returncode == 1
    assert "No module named 'lactok'" in done.stderr


def test_an_editable_clone_is_found_from_the_folder_that_holds_it(clone: Path, tmp_path: Path) -> None:
    """There `import lactok` could mean the clone's folder, which has no `load`."""
    venv.create(tmp_path / "venv")
    executable = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    own = python(executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).stdout
    others = "".join(f"{sysconfig.get_path(kind)}\n" for kind in ("purelib", "platlib"))
    Path(own.strip(), "zz_others.pth").write_text(others)  # their packages alone: a .pth there is not read
    uv("pip", "install", "--no-deps", "--python", str(executable), "-e", str(clone), cwd=tmp_path)
    code = "import lactok; print(lactok.__file__); print(lactok.load('identity').spec.name)"
    done = python(executable, "-c", code, cwd=clone.parent)
    assert done.stdout.splitlines() == [str(clone / "lactok" / "__init__.py"), "identity"], done.stderr
