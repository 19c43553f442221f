"""The suite against a plain script: the same numbers, and a user's mistake is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.speed import replay, suite
from lactok.errors import UserError, WrongValue

VALUES = {"psnr": 20.0, "ssim": 0.5, "lpips_alex": 0.25, "rfid": 10.0, "kid": 0.0}


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "given" / "0.png")
    (tmp_path / "given" / "1.png").write_bytes(b"no image")
    with pytest.raises(WrongValue, match=r"1\.png: not an image"):
        replay.make(tmp_path / "made", 2, 64, 1, tmp_path / "given")


def test_what_a_process_says_is_said_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--images 1: "):
        suite.time_apart("suite", tmp_path, ["--images", "1"])


def test_differences_are_relative_but_for_kid() -> None:
    found = suite.differences({"values": VALUES | {"rfid": 10.1, "kid": 1e-6}}, {"values": VALUES})
    assert found == {"psnr": 0, "ssim": 0, "lpips_alex": 0, "rfid": pytest.approx(0.01), "kid": pytest.approx(1e-6)}


def test_the_median_is_one_of_the_rounds() -> None:
    assert suite.median([{"cpu": 3.0}, {"cpu": 1.0}, {"cpu": 2.0}, {"cpu": 9.0}]) == {"cpu": 2.0}


@pytest.mark.slow
def test_the_suite_and_the_script_give_the_same_numbers(tmp_path: Path) -> None:
    arguments = [
        "--images",
        "3",
        "--resolution",
        "64",
        "--rounds",
        "1",
        "--tokenizers",
        "2",
        "--threads",
        "1",
        "--fast",
    ]
    with pytest.raises(SystemExit) as ended:
        suite.main([*arguments, "--json", str(tmp_path / "speed.json")])
    assert ended.value.code == 0
    numbers = json.loads((tmp_path / "speed.json").read_text())
    found = numbers["suite"]["differences"]
    assert found.keys() == suite.TOLERANCES.keys() == numbers["suite --fast"]["differences"].keys()
    assert all(found[key] <= suite.TOLERANCES[key] for key in suite.TOLERANCES)
    assert numbers["suite --fast"]["differences"]["lpips_alex"] > found["lpips_alex"]
