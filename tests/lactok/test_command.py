"""How commands end where their output cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reference import ROOT

from lactok.command import interpreter

pytestmark = pytest.mark.slow  # other processes
SCRIPT = """
from lactok.command import command

@command
def main(argv=None):
    print("PSNR \u2191 " * 10_000)
    return 0

main()
"""


def run(stdout: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    known = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "PYTHONIOENCODING"))}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=known | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
    )


def test_a_terminal_that_lacks_a_sign() -> None:
    done = run(subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"PSNR ? PSNR ?")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output() -> None:
    with open("/dev/full", "wb") as full:
        done = run(full)
    assert done.returncode == 2
    assert done.stderr == b"error: no space left where the output goes; results that are finished are kept\n"


def test_the_python_of_tox_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOX_ENV_DIR", raising=False)
    assert interpreter() == "python"
    monkeypatch.setenv("TOX_ENV_DIR", ".tox/recon")
    monkeypatch.setattr(sys, "executable", os.path.abspath(".tox/recon/bin/python"))
    assert interpreter() == os.path.join(".tox", "recon", "bin", "python")
