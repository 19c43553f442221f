"""A run that is killed at any of its files, and started again, gives what an unbroken run gives and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import photograph
from reference import ROOT

from lactok.errors import UserError
from lactok.evaluation import datasets, protocol
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.folder_source import FolderSource
from lactok.evaluation.measuring import evaluate_source

pytestmark = pytest.mark.slow
# files that get their name in a run, by work: shards, pictures, records, tables, notes, checkpoints
LEAST = {"reconstruction": 30, "geneval": 9, "preference": 5, "generation": 9, "gfid": 14, "weights": 2, "training": 5}
LEAST["data"] = 30


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `crash_points.py` found, by work."""
    tests = ROOT / "tests"
    paths = [ROOT, tests, tests / "benchmarks" / "preference", tests / "benchmarks" / "generation"]
    known = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, tests / "crash_points.py", tmp_path_factory.mktemp("works")]
    done = subprocess.run(script, capture_output=True, text=True, env=known, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("work", LEAST)
def test_killed_before_and_after_every_file(found: dict[str, dict[str, Any]], work: str) -> None:
    assert found[work]["faults"] == []
    assert found[work]["points"] >= LEAST[work]
    assert found[work]["files"]


class Crashing(FolderSource):
    """Its process is killed before the n-th file since it began to work gets its name."""

    at = 0

    def outputs(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        replace, calls = os.replace, 0

        def counted(source: Path, target: Path) -> None:
            nonlocal calls
            calls += 1
            if calls == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = counted  # type: ignore[assignment]
        return super().outputs(*arguments)


@pytest.mark.parametrize("at", [1, 4])
def test_a_worker_killed_between_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    for folder in ("photographs", "made"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            photograph(i + len(folder)).save(tmp_path / folder / f"{i}.png")
    monkeypatch.setattr(datasets, "SHARD", 2)
    data, run = datasets.folder(tmp_path / "photographs"), Run(protocol.get("square-256", 64, "psnr"), threads=1)
    names = [sample.id for sample in data.samples]
    source = FolderSource(tmp_path / "made", names)
    assert evaluate_source(source, data, run, Execution(tmp_path / "whole")) is not None
    crashing = Crashing(tmp_path / "made", names)
    crashing.at = at
    with pytest.raises(UserError, match="a worker process died"):
        evaluate_source(crashing, data, run, Execution(tmp_path / "out", workers=2))
    assert list((tmp_path / "out").rglob("*.part"))
    assert evaluate_source(source, data, run, Execution(tmp_path / "out", workers=2)) is not None
    files = [
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".lock"}
        for out in (tmp_path / "whole", tmp_path / "out")
    ]
    for both in files:
        both.pop(next(path for path in both if path.name == "run.json"))
    assert files[0] == files[1]
