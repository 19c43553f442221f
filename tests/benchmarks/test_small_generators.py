"""Small LaCTokGen, LlamaGen, Show-o and HART through GenEval, rewards, Tables 3 and 6, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from reference import ROOT

pytestmark = pytest.mark.slow
SYSTEMS = ("small-lactokgen", "small-llamagen", "small-show-o", "small-hart")
WORKS = ["table3", "guidance", *(f"{suite} {name}" for name in SYSTEMS for suite in ("geneval", "preference"))]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What `generator_runs.py` found, by work."""
    tests = ROOT / "tests"
    paths = [ROOT, tests, tests / "benchmarks" / "preference", tests / "benchmarks" / "generation"]
    known = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, tests / "generator_runs.py", tmp_path_factory.mktemp("works")]
    done = subprocess.run(script, capture_output=True, text=True, env=known, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("work", WORKS)
def test_killed_in_the_middle_and_resumed_with_the_same_bytes(found: dict[str, list[str]], work: str) -> None:
    assert found[work] == []
    assert sorted(found) == sorted(WORKS)
