"""Any number of workers and several runs into one folder: the same bytes, and nothing finished is computed twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import photograph
from recon_command import FAST, stable_bytes
from reference import ROOT

pytestmark = pytest.mark.slow
SHARD = 5  # images
IMAGES = 35  # seven shards
SCRIPT = f"""
import sys
from lactok.evaluation import datasets
datasets.SHARD = {SHARD}
from benchmarks.recon import __main__ as recon
if __name__ == "__main__":
    recon.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs for seven shards, and the command as a script beside it."""
    folder = tmp_path_factory.mktemp("seven")
    (folder / "photographs").mkdir()
    for i in range(IMAGES):
        photograph(i).save(folder / "photographs" / f"{i:03}.png")
    (folder / "script.py").write_text(SCRIPT)
    return folder


@pytest.fixture(scope="module")
def expected(seven: Path) -> dict[str, bytes]:
    """The results of one process."""
    assert finish(command(seven, seven / "out")) == ""
    return stable_bytes(seven / "out")


def command(seven: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    counting = f"{ROOT / 'tests' / 'counting.py'}:Counting"
    arguments = [*FAST, "--tokenizers", counting, "--dataset", seven / "photographs", "--threads", "1", "--out", out]
    return subprocess.Popen(
        [sys.executable, seven / "script.py", *arguments, *more],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(started: subprocess.Popen[str]) -> str:
    """Wait until a command has ended well, and return what it said of other parts."""
    _, error = started.communicate()
    assert started.returncode == 0, error
    return "".join(line for line in error.splitlines() if "left to the other parts" in line)


def encoded(log: Path) -> Counter[str]:
    """How often each image was encoded, by its seed."""
    return Counter(line.split()[1] for line in log.read_text().splitlines())


@pytest.mark.parametrize("workers", [2, 7])
def test_any_number_of_workers(seven: Path, expected: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    finish(command(seven, tmp_path / "out", "--workers", str(workers), LACTOK_TEST_LOG=str(log)))
    assert stable_bytes(tmp_path / "out") == expected
    assert set(encoded(log).values()) == {1}
    assert len(encoded(log)) == IMAGES


def test_two_runs_into_one_folder_at_once(seven: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Each waits in its first shard until the other has come as far; then they go on as they like."""
    log, begin = tmp_path / "log", tmp_path / "begin"
    more = {"LACTOK_TEST_LOG": str(log), "LACTOK_TEST_HOLD": str(begin)}
    started = [command(seven, tmp_path / "out", **more), command(seven, tmp_path / "out", "--workers", "2", **more)]
    begin.write_text("")
    for one in started:
        finish(one)
    assert stable_bytes(tmp_path / "out") == expected
    assert max(encoded(log).values()) <= 2
    log.unlink()
    finish(command(seven, tmp_path / "out", **more))
    assert not log.exists()


def test_parts_as_slurm_and_torchrun_number_them(seven: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """An array of two jobs with two processes each; the last one merges, the others say in a line what is left."""
    log = tmp_path / "log"
    said = []
    for job in (1, 3):
        array = {"SLURM_ARRAY_TASK_ID": str(job), "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "3"}
        for rank in (1, 0):
            place = {"SLURM_ARRAY_TASK_STEP": "2", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
            more = {"LACTOK_TEST_LOG": str(log)} | array | place
            said.append(finish(command(seven, tmp_path / "out", "--part", "auto", **more)))
    found = [text.partition(": ")[2].partition(";")[0] for text in said]
    assert found == [f"{left} of 7 shards are left to the other parts" for left in (5, 3, 2)] + [""]
    assert stable_bytes(tmp_path / "out") == expected
    assert set(encoded(log).values()) == {1}
