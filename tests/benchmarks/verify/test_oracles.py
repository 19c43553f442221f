"""The table of oracles: each metric of the command agrees with its library, and a wrong one is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.verify import oracles
from benchmarks.verify.libraries import ORACLES, Inputs, Oracle
from benchmarks.verify.oracles import main, published_pairs
from lactok.errors import MissingFile


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs(4)


@pytest.mark.slow
@pytest.mark.parametrize("each", ORACLES, ids=lambda each: each.what)
def test_every_metric_is_its_librarys(each: Oracle, inputs: Inputs) -> None:
    with torch.inference_mode():
        assert each.deviation(inputs) <= each.tolerance


def test_a_wrong_value_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = Oracle("right", "numpy", 1e-9, True, lambda inputs: ([2.0], [2.0 + 1e-9]))
    wrong = Oracle("wrong", "numpy", 1e-9, False, lambda inputs: ([2.0], [2.0 + 1e-6]))
    nan = Oracle("nan", "numpy", 1e-9, False, lambda inputs: ([np.nan], [2.0]))
    for chosen, code in (((right,), 0), ((right, wrong), 1), ((nan,), 1)):
        monkeypatch.setattr(oracles, "ORACLES", list(chosen))
        with pytest.raises(SystemExit) as stop:
            main(["--limit", "2"])
        assert stop.value.code == code
    said = capsys.readouterr().out
    assert f"numpy {np.__version__}" in said
    assert said.count("FAIL") == 2


def test_published_pairs_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"ex_ref\.png is not there; .* folder imgs of github"):
        published_pairs(tmp_path)


def test_other_images_are_not_the_published_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in (oracles.PUBLISHED_REFERENCE, *oracles.PUBLISHED_PAIRS):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    assert [row[-1] for row in published_pairs(tmp_path)] == ["FAIL", "FAIL"]
