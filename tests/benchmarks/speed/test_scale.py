"""The command that measures growth: made-up photographs, every stage, sizes that are measured already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed.scale import main, sizes_of, stored
from benchmarks.speed.scaling import Series, Stages, make_photographs, measure, place, table
from lactok.errors import WrongValue


def run(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == code


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy made-up photographs: two shards."""
    folder = tmp_path_factory.mktemp("photographs")
    make_photographs(folder, 70)
    return folder


def test_photographs_are_made_once_and_the_same_every_time(photographs: Path, tmp_path: Path) -> None:
    make_photographs(tmp_path, 3)
    pictures = [np.asarray(Image.open(place(tmp_path, i))) for i in range(3)]
    for i, picture in enumerate(pictures):
        assert picture.shape == (256, 256, 3)
        assert np.array_equal(picture, np.asarray(Image.open(place(photographs, i))))
        assert picture.std() > 10
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10
    place(tmp_path, 1).write_bytes(b"mine")
    make_photographs(tmp_path, 3)
    assert place(tmp_path, 1).read_bytes() == b"mine"


def test_every_stage_is_measured(photographs: Path) -> None:
    """What is timed are the suite's own functions, so a stage without seconds is one whose function has moved."""
    found = measure(Series("toy", "psnr,ssim", 64), photographs, 66)
    stages = {name for name, seconds in found["wall"].items() if seconds > 0}
    assert stages >= {
        *("listing", "hashing", "shards", "looking what is finished", "keys", "pictures", "merging", "intervals"),
        *("tokens.npz", "writing", "reading"),
        *(f"shards: {name}" for name in ("prepare", "encode", "decode", "per-image metrics")),
    }
    assert found["photographs"] == 66
    assert 0 < found["start"] <= found["peak"]
    assert found["disk"] > 0
    assert {path.suffix for path in photographs.rglob("*") if path.is_file()} == {".jpg"}  # nothing is left there
    text = table(Series("toy", "psnr,ssim", 64), [found])
    assert "| 66 " in text.replace("|  ", "| ")
    assert "shards: decode" in text


def test_an_inner_stage_counts_once() -> None:
    stages = Stages()
    with stages.stage("outer"), stages.stage("inner"):
        sum(range(200_000))
    assert 0 <= stages.cpu["outer"] < stages.cpu["inner"]
    stages.divide("inner", {"part": 0.0}, {"part": stages.cpu["inner"]})
    assert stages.cpu["inner"] == 0
    assert stages.cpu["inner: part"] > 0


POINT = {"start": 1e8, "peak": 2e8, "children": 0, "disk": 5e6, "wall": {"shards": 1.0}, "cpu": {"shards": 1.0}}


def points(*sizes: int) -> list[dict[str, Any]]:
    """Made-up measurements that grow with the number of photographs."""
    return [POINT | {"photographs": n, "cpu": {"shards": n / 100}} for n in sizes]


def test_sizes_that_are_there_are_not_measured_again(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def measured(series: Series, folder: Path, count: int) -> dict[str, Any]:
        asked.append(count)
        if count == 60:
            raise KeyboardInterrupt
        return points(count)[0]

    monkeypatch.setattr("benchmarks.speed.scaling.measure_in_process", measured)
    words = ("--photographs", photographs, "--json", tmp_path / "a.json", "--svg", tmp_path / "a.svg")
    run(*words, "--sizes", "20,40,60", code=130)
    run(*words, "--sizes", "20,40,70")
    assert asked == [20, 40, 60, 70]
    assert "| 1.00" in capsys.readouterr().out  # linear
    run(*words, "--sizes", "20", "--tokenizer", "toy")
    assert asked == [20, 40, 60, 70, 20]
    first = (tmp_path / "a.svg").read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    run(*words, "--sizes", "20", "--tokenizer", "toy")
    assert (tmp_path / "a.svg").read_bytes() == first
    assert [len(series["sizes"]) for series in stored(tmp_path / "a.json")] == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--photographs is missing"),
        (("--sizes", ""), "--sizes is empty"),
        (("--sizes", "many"), "--sizes many: whole numbers with commas"),
        (("--sizes", "1"), "--sizes 1: "),
        (("--photographs", "x", "--tokenizer", "toi"), "unknown tokenizer 'toi'"),
        (("--photographs", "x", "--metrics", "pnsr"), "unknown metric 'pnsr'"),
        (("--photographs", "x", "--svg", "a.svg"), "--svg draws what stands in the file of --json"),
        (("--photographs", "x", "--json", "other.json"), "this file is none of this command's"),
        (("--photographs", "other.json"), "is a file, not a folder"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text(json.dumps({"series": 3}))
    run(*arguments, code=2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not Path("x").exists()


def test_sizes_are_numbers() -> None:
    assert sizes_of("2000, 500 500") == [500, 2000]
    with pytest.raises(WrongValue):
        sizes_of("1e3")
