"""`python -m benchmarks.coverage`: its rows, that it goes on where it was stopped, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.coverage import rows, simulate
from benchmarks.coverage.__main__ import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_a_table_of_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("means", "--simulations", 20, "--images", "30") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(simulate.VALUES)
    assert lines[0].startswith("| values ")


def test_the_interval_of_a_distance_covers_its_mean() -> None:
    """With many more images than features; the share is of 200 simulations, so its standard error is 1.5 %."""
    for name in simulate.DISTANCES:
        (cell,) = [
            c
            for c in rows.cells("distances", [300], 200, 8, 300, 0)
            if (c["metric"], c["distribution"]) == (name, "normal")
        ]
        row = simulate.distances(cell)
        assert 0.91 <= (row["coverage"] or 0) <= 0.99
        assert 0.91 <= (row["difference"] or 0) <= 0.99
        assert (row["false_alarms"] or 0) == pytest.approx(1 - (row["difference"] or 0), abs=1e-9)


def test_finished_rows_are_not_simulated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = tmp_path / "whole.json", tmp_path / "stopped.json"
    arguments = ("distances", "--simulations", 3, "--images", "40,60", "--features", 4, "--out")
    assert run(*arguments, whole) == 0
    calls = []

    def stops(cell: rows.Cell) -> dict[str, float | None]:
        calls.append(cell)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return simulated(cell)

    simulated = simulate.distances
    with monkeypatch.context() as patched:
        patched.setattr(simulate, "distances", stops)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main([str(argument) for argument in (*arguments, stopped)])
    assert len(json.loads(stopped.read_text())["rows"]) == 2
    assert run(*arguments, stopped) == 0
    assert stopped.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("means", "--images", "many"), "whole numbers with commas"),
        (("means", "--images", "1"), "--images 1"),
        (("distances", "--images", "30"), "from 40 images on"),
        (("means", "--simulations", "0"), "--simulations 0"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err


def test_another_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert run("means", "--simulations", 2, "--images", "30", "--out", other) == 2
    assert "holds no simulations" in capsys.readouterr().err
    assert other.read_text() == "{}"
