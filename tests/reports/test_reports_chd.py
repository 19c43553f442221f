"""`python -m reports chd`: sets of images compared by their codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lactok
from lactok.evaluation.code_histograms import code_distance, hellinger
from lactok.evaluation.id_statistics import stored_ids
from reports.__main__ import main


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_the_distance_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 40, (30, 8)), rng.integers(10, 60, (20, 8))
    p, q = (np.bincount(ids.ravel(), minlength=60) / ids.size for ids in (first, second))
    expected = np.sqrt(1 - np.sqrt(p * q).sum())  # the same by the Bhattacharyya coefficient
    found = code_distance(first, second)
    assert found.value == pytest.approx(expected)
    assert found.value > found.at_random[2]
    assert found.p == pytest.approx(1 / 201)
    assert code_distance(first + 2**40, second + 2**40).value == pytest.approx(expected)
    assert hellinger(np.ones(4), np.ones(4)) == 0


def test_sets_of_the_same_kind_are_as_far_apart_as_at_random() -> None:
    rng = np.random.default_rng(2)
    found = code_distance(rng.integers(0, 500, (40, 16)), rng.integers(0, 500, (60, 16)))
    assert found.at_random[1] <= found.value <= found.at_random[2]
    assert found.p > 0.05


def test_the_command_compares_data_sets_and_refuses_in_a_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = tmp_path / "dark"
    dark.mkdir()
    for path in sorted(photographs.iterdir())[:20]:
        Image.open(path).point(lambda level: level // 4).save(dark / path.name)
    out = tmp_path / "runs"
    words = ("toy", "--runs", str(out))
    first = lactok.evaluate("toy", dataset=photographs, metrics="psnr", resolution=64, out=out)
    capsys.readouterr()
    assert run("chd", *words) == 2
    assert "has ids of one set of images" in capsys.readouterr().err
    second = lactok.evaluate("toy", dataset=dark, metrics="psnr", resolution=64, out=out)
    capsys.readouterr()
    assert run("chd", *words) == 0
    shown = capsys.readouterr().out
    ids = [stored_ids(result.folder) for result in (first, second)]
    assert ids[0] is not None
    assert ids[1] is not None
    assert f"{code_distance(ids[0][0], ids[1][0]).value:.4f}" in shown
    assert f"CHD to {first.dataset}" in shown
    assert run("chd", *words, "--reference", second.dataset) == 0
    assert f"CHD to {second.dataset}" in capsys.readouterr().out
    assert run("chd", "toys", "--runs", str(out)) == 2
    assert "did you mean 'toy'?" in capsys.readouterr().err
