"""Progress: images are counted, within a shard too; the time left is told; bar and messages are one stream."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recon_command import run

from lactok import command
from lactok.evaluation import progress as module
from lactok.evaluation.progress import Progress, progress, worked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the module sees."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_units_within_a_shard_are_counted() -> None:
    shown: list[float] = []
    own = Progress(10, shown.append)
    for units in (1.5, 1.5):
        own.add(units)
    own.settle(4)
    own.add(8)
    assert shown == [1.5, 3, 4, 10]


def test_lines_say_how_many_images_and_how_long(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lactok")
    with progress("toy", 40) as report:
        clock[0] = 1
        worked(1)
        clock[0] = 30
        worked(9)
        report(20, 40)
        clock[0] = 60
        report(40, 40)
    assert caplog.messages == ["toy: 10/40 images, about 2 min left", "toy: 40 images in 60 s"]
    worked(1)  # nobody shows it


def test_what_takes_no_time_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lactok")
    with progress("toy", 1) as report:
        report(1, 1)
    assert caplog.messages == []


def test_bar_and_messages_are_in_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", "100")
    command.show_log()
    with progress("toy", 36) as report:
        worked(12)
        logging.getLogger("lactok.test").info("a message meanwhile")
        report(36, 36)
    assert "36/36 images" in out.getvalue()
    assert "a message meanwhile" in out.getvalue()
    assert err.getvalue() == ""


def test_messages_do_not_go_where_results_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", err)
    assert command.messages() is err


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, float]]]:
    """(label, images) whenever progress changes."""
    found: list[tuple[str, float]] = []
    original = Progress.__init__

    def remember(self: Progress, total: int, show: Any) -> None:
        original(self, total, lambda done: found.append((f"of {total}", done)))

    monkeypatch.setattr(Progress, "__init__", remember)
    return found


def test_a_tokenizer_counts_the_images_of_a_shard(
    photographs: Path, tmp_path: Path, shown: list[tuple[str, float]]
) -> None:
    run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(photographs), "--limit", "5")
    assert shown == [("of 5", i / 2) for i in range(1, 11)] + [("of 5", 5)]  # encoded, then decoded
    shown.clear()
    run(tmp_path / "out", "--tokenizers", "toy resize-8", "--dataset", str(photographs), "--limit", "5")
    assert shown[-1] == ("of 5", 5)
    run(tmp_path / "new", "--tokenizers", "toy resize-8", "--dataset", str(photographs), "--limit", "5")
    assert ("of 10", 10) in shown  # both together
