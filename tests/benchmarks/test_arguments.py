"""Arguments of all commands: none is without effect silently, numbers are plain, and outputs are checked first."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from reports.console import COMMANDS, _file

OTHERS = {
    "exchange": ("--tokenizers", "toy"),
    "retrieval": ("--tokenizers", "toy"),
    "recon": ("--tokenizers", "toy"),
    "ablation": ("steps",),
    "generation": ("--generators", "toy-clouds", "--prompts", "geneval"),
    "geneval": ("--scenes", "3"),
    "gfid": ("--generators", "titok-l32-gen", "--reference", "."),
    "preference": ("--generators", "toy"),
    "probe": ("--tokenizers", "toy"),
}


def error_of(capsys: pytest.CaptureFixture[str], command: str, *arguments: object) -> str:
    """Return the line that a command ends with, for which its exit code is 2."""
    module = importlib.import_module(_file(COMMANDS[command].module))
    with pytest.raises(SystemExit) as stop:
        module.main([*COMMANDS[command].words, *map(str, arguments)])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    return error


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and those of its subcommands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += parsers(sub)
    return found


def test_no_command_reads_numbers_by_int_or_float() -> None:
    """`int` takes underscores, spaces and the digits of every script, `float` takes nan and inf."""
    for command, entry in COMMANDS.items():
        module = importlib.import_module(_file(entry.module))
        if not hasattr(module, "parser"):
            continue  # `exchange` and `retrieval` have that of `pairs`, whose options are the shared ones
        for parser in parsers(module.parser()):
            wrong = [action.dest for action in parser._actions if action.type in (int, float)]
            assert not wrong, f"{command}: {wrong}"


@pytest.mark.parametrize("command", OTHERS)
@pytest.mark.parametrize(
    ("argument", "value"), [("--seed", "１"), ("--seed", "9" * 19), ("--batch-size", "1_0"), ("--part", "²/3")]
)
def test_hostile_numbers(capsys: pytest.CaptureFixture[str], command: str, argument: str, value: str) -> None:
    error = error_of(capsys, command, *OTHERS[command], "--out", "nowhere", argument, value)
    assert argument in error
    assert "between" in error or "invalid integer value" in error or "write I/N" in error
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("command", OTHERS)
def test_an_out_that_is_a_file_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").write_text("")
    error = error_of(capsys, command, *OTHERS[command], "--out", tmp_path / "file")
    assert re.search(r"--out .*file is a file, not a folder; choose another --out$", error)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            "geneval",
            ("--generators", "titok-l32-gen"),
            "not of prompts; it is measured by `python -m benchmarks.gfid",
        ),
        (
            "preference",
            ("--generators", "titok-l32-gen"),
            "not of prompts; it is measured by `python -m benchmarks.gfid",
        ),
        ("gfid", ("--generators", "sdxl"), "it is measured by `python -m benchmarks.geneval"),
        ("geneval", ("--images", ".", "--seed", "0"), "--seed does not go with --images"),
        ("geneval", ("--images", ".", "--dtype", "float32"), "--dtype does not go with --images"),
        ("geneval", ("--scenes", "3", "--dtype", "float32"), "--dtype does not go with --scenes"),
        ("preference", ("--images", ".", "--seed", "0"), "--seed does not go with --images"),
        ("speed", ("--tokenizers", "toy", "--sizes", "--repeats", "5"), "--repeats does not go with --sizes"),
        ("speed", ("--tokenizers", "toy", "--sizes", "--random"), "--random does not go with --sizes"),
        ("reports", ("readme", "--check", "--runs", "runs"), "--runs does not go with --check"),
        ("recon", ("--check", "toy", "--limit", "3"), "--limit does not go with --check"),
    ],
)
def test_arguments_without_effect_are_refused(
    capsys: pytest.CaptureFixture[str], command: str, arguments: tuple[str, ...], message: str
) -> None:
    assert message in error_of(capsys, command, *arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("speed", ("--tokenizers", "toy", "--json")),
        ("compare", ("toy", "toy", "--json")),
        ("reports", ("build", "--runs", "none", "--out")),
        ("reports", ("grid", "recon", "--runs", "none", "--out")),
        ("scenes", ("make", "--out")),
        ("scenes", ("train-detector", "--out")),
        ("scenes", ("agreement", "none", "--out")),
    ],
)
def test_outputs_are_checked_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    error = error_of(capsys, command, *arguments, tmp_path / "file" / "a.png")
    assert f"{tmp_path / 'file'} is a file, not a folder; choose another" in error
