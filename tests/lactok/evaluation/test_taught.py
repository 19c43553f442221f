"""Figures of a metric whose own network taught the tokenizer are marked in the table."""

from __future__ import annotations

from pathlib import Path

import lactok
from lactok.evaluation.results import ReconResult, load
from lactok.evaluation.table import markdown, svg
from lactok.evaluation.taught import MARK, taught

KEPT = Path(lactok.__file__).parents[1] / "docs" / "sample-run"


def kept(name: str) -> ReconResult:
    result = load(KEPT / name)
    assert isinstance(result, ReconResult)
    return result


def test_inception_and_alexnet_taught_seedtok_and_alexnet_the_others() -> None:
    assert {*taught(kept("seedtok-tiny"))} == {"lpips_alex", "rfid", "kid"}
    assert taught(kept("llamagen-vq16-tiny")) == ["lpips_alex"]
    assert taught(kept("jpeg")) == []


def test_the_cells_are_marked_and_a_note_says_why() -> None:
    results = [kept(name) for name in ("llamagen-vq16-tiny", "seedtok-tiny", "jpeg")]
    text = markdown(results)
    first, second, third = (line for line in text.splitlines() if line.startswith(("| llama", "| seed", "| jpeg")))
    assert (first.count(MARK), second.count(MARK), third.count(MARK)) == (1, 3, 0)
    assert "seedtok-tiny by that of LPIPS alex, rFID, KID x1000" in text
    assert MARK in svg(results, "table")
    assert MARK not in markdown(results[2:])


def test_of_what_nobody_registers_nothing_is_known() -> None:
    result = kept("jpeg")
    for name in ("./mine.py:Mine", "somebodys", "somebodys@bits=3"):
        tokenizer = result.data.tokenizer.model_copy(update={"name": name})
        data = result.data.model_copy(update={"tokenizer": tokenizer})
        assert taught(ReconResult(result.folder, data, result.older)) == []
