"""Fresh environments beside this one, with an example package installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from reference import ROOT


def python(executable: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([executable, *arguments], capture_output=True, text=True, cwd=cwd)


def installer(executable: Path) -> list[str]:
    """A command that installs into a bare environment: the pip that Python carries for this, else uv."""
    spec = importlib.util.find_spec("ensurepip")
    wheels = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl")) if spec and spec.origin else []
    if wheels:
        return [str(executable), f"{wheels[-1]}/pip", "install", "--quiet", "--no-index"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--offline", "--python", str(executable)]
    pytest.skip("neither Python's own pip (the system's package python3-venv) nor uv is here to install the example")


def installed(folder: Path, example: Path) -> Path:
    """The Python of a new environment that sees the packages of this one, with an example installed."""
    folder = folder / "fresh"
    venv.create(folder / "venv")
    executable = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    own = python(executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    # `addsitedir` also reads the .pth files there, an editable lactok's for one
    seen = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)]
    Path(own, "seen.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in seen))
    source = shutil.copytree(example, folder / "source")  # building leaves files beside the code
    command = [*installer(executable), "--no-build-isolation", "--no-deps", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return executable
