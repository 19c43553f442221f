"""`--dry-run`: what can be fetched is summed once, and costs are those that were counted."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path

import pytest
from golden_sets import MADE_ANEW
from recon_command import run
from reference import ROOT

from benchmarks.speed import cost as costs
from lactok import registry
from lactok.catalogue import file_of

QUICK = ("identity", "llamagen-vq16-tiny", "titok-s128-tiny")  # to count; the others take up to half a minute


def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizers: str) -> None:
    monkeypatch.setenv("LACTOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LACTOK_WEIGHTS", raising=False)
    monkeypatch.setattr("benchmarks.recon.dry_run.cost", lambda name: costs.Cost(1000, 1e9, 1e9, 1e9))
    run(tmp_path / "out", "--tokenizers", tokenizers, "--dry-run")
    assert not (tmp_path / "out").exists()


def test_what_several_need_is_fetched_once_and_what_nobody_publishes_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(tmp_path, monkeypatch, "flextok-d12-d12 flextok-d12-d12@tokens=4 lactok-h lactok-t identity")
    out = capsys.readouterr().out
    assert "lactok-h                  cannot be fetched" in out
    assert "1.4 GB of downloads" in out  # not 2.8 GB, and without 2 x 16.5 GB
    assert "left out of the sums, since nobody publishes their weights: lactok-h, lactok-t; train your own" in out


def test_a_decoder_of_one_number_of_steps_is_counted() -> None:
    """`lactok-h-tiny@steps=2` is not allowed."""
    found = costs.counted("lactok-h-tiny")
    assert found.decode_flops == found.step_flops > 0


@pytest.mark.slow
def test_known_costs_are_what_is_counted(regenerate_golden: bool) -> None:
    path = file_of("baselines").with_name(costs.FILE)
    if regenerate_golden:
        found = {name: astuple(costs.counted(name)) for name in registry.TOKENIZERS.own()}
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in found.items())
        path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        MADE_ANEW.append(f"{path.relative_to(ROOT)}: made anew")
        costs._known.cache_clear()
    known = json.loads(path.read_text(encoding="utf-8"))
    assert known.keys() <= registry.TOKENIZERS.own().keys()  # one that is not there is counted when it is asked for
    for name in QUICK:
        assert tuple(known[name]) == astuple(costs.counted(name)) == astuple(costs.cost(name))


def test_a_tokenizer_with_options_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "counted", lambda name: name)
    assert costs.cost("jpeg@bits=4000") == "jpeg@bits=4000"
