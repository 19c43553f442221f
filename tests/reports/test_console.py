"""The script `lactok`: every command from any folder."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from reports.console import COMMANDS

pytestmark = pytest.mark.slow  # other processes

HEAVY = ("torch", "numpy", "pandas", "matplotlib", "pydantic", "benchmarks.recon", "reports.build")
NAMES = {
    "recon",
    "geneval",
    "data",
    "datasets",
    "preference",
    "generation",
    "gfid",
    "table3",
    "generate",
    "ablation",
    "exchange",
    "perturb",
    "probe",
    "replay",
    "retrieval",
    "variety",
    "speed",
    "coverage",
    "verify",
    "contract",
    "scenes",
    "weights",
    "train",
    "reports",
    "compare",
    "bundle",
    "chd",
    "correlations",
    "merge",
    "serve",
    "table",
    "paper",
    "try",
}


def lactok(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the installed script does, from another folder."""
    code = f"import sys; sys.argv = ['lactok', *{list(words)!r}]; from reports.console import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_the_script_is_installed() -> None:
    (point,) = [p for p in distribution("lactok").entry_points if p.group == "console_scripts" and p.name == "lactok"]
    assert point.value == "reports.console:main"
    assert callable(point.load())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_command_explains_itself(tmp_path: Path, name: str) -> None:
    done = lactok(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: lactok {name} ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_alone_it_lists_its_commands(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = lactok(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    assert set(listed) == NAMES == set(COMMANDS)
    assert all(len(line.split()) > 3 and len(line) <= 120 for line in listed.values())


def test_an_unknown_command_is_one_line_with_the_nearest_name(tmp_path: Path) -> None:
    done = lactok(tmp_path, "recno")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown command 'recno', did you mean 'recon'?")
    assert done.stderr.count("\n") == 1


def test_a_mistake_names_the_command_as_it_was_called(tmp_path: Path) -> None:
    done = lactok(tmp_path, "reports", "build", "--wrong")
    assert done.returncode == 2
    told = "`lactok reports build --help` explains the arguments"
    assert done.stderr == f"error: unrecognized arguments: --wrong; {told}\n"
    done = lactok(tmp_path, "compare", "a", "b")
    assert done.returncode == 2
    assert done.stderr.startswith("error: RUN a: no folder of a result")


def test_what_may_have_been_meant_by_an_argument_is_said(tmp_path: Path) -> None:
    done = lactok(tmp_path, "recon", "--tokenizers", "resize-8", "--limt", "3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unrecognized arguments: --limt 3, did you mean --limit?;")
    done = lactok(tmp_path, "recon", "--tokenizers", "resize-8", "jpeg")
    assert done.stderr.startswith("error: unrecognized arguments: jpeg: several names are one argument, in quotes or")
    done = lactok(tmp_path, "reports", "build", "jpeg")
    assert done.stderr.startswith("error: unrecognized arguments: jpeg; `lactok reports build --help`")


def test_nothing_heavy_is_imported_before_a_command_is_chosen(tmp_path: Path) -> None:
    code = f"import sys, reports.console; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
