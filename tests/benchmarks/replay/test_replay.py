"""`benchmarks.replay`: one tokenizer under many protocols, ids computed once, published numbers beside the measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Toy

from benchmarks import published
from benchmarks.replay.__main__ import main, protocols_of
from benchmarks.replay.table import published_texts
from lactok.evaluation.config import Settings


def replay(*words: str) -> int:
    with pytest.raises(SystemExit) as info:
        main([*words])
    return int(info.value.code or 0)


def test_ids_are_computed_once_for_protocols_that_prepare_alike(
    photographs: Path, tmp_path: Path, toy_calls: type[Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    words = ["toy", "--dataset", str(photographs), "--limit", "5", "--metrics", "psnr", "--out", str(out)]
    names = "square-256,titok-256,llamagen-256,seed-voken-256,seed-voken-256-ibq,var-256,tokbench"
    assert replay(*words, "--protocols", names) == 0
    text = capsys.readouterr().out
    (table,) = out.glob("replay-toy__*.md")
    data = json.loads(table.with_suffix(".json").read_text())
    assert [row["protocol"] for row in data["rows"]] == names.split(",")
    preparations = len({row["prepare"] for row in data["rows"]})
    assert toy_calls.calls == 5 * preparations
    assert str(table) in text
    before = table.read_bytes(), table.with_suffix(".json").read_bytes()
    toy_calls.calls = 0
    assert replay(*words, "--protocols", names) == 0
    assert toy_calls.calls == 0
    assert (table.read_bytes(), table.with_suffix(".json").read_bytes()) == before


def test_protocols_of_one_preparation_share_the_ids(
    photographs: Path, tmp_path: Path, toy_calls: type[Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    words = ["--dataset", str(photographs), "--limit", "3", "--metrics", "psnr", "--out", str(out)]
    assert replay("toy", *words, "--protocols", "paper-1024,paper-1024-4m") == 0
    assert toy_calls.calls == 3
    (path,) = out.glob("replay-toy__*.json")
    first, second = json.loads(path.read_text())["rows"]
    assert first["ids"] == second["ids"] != "-"
    assert first["metrics"]["psnr"]["value"] != second["metrics"]["psnr"]["value"]


def test_what_does_not_fit_is_named_and_the_others_run(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(dataset=str(photographs), metrics="psnr")
    chosen, unfit = protocols_of("toy", None, settings)
    assert set(unfit) == {"native", "seed-voken-native"}
    assert "tokbench" in [one.name for one in chosen]
    assert not protocols_of("identity", None, settings)[1]
    words = ["--dataset", str(photographs), "--out", str(tmp_path)]
    for wrong, said in (
        (["toy", "--protocols", "native"], "native: toy takes images of 32x32 px alone"),
        (["toy", "--protocols", "titok"], "unknown protocol 'titok'"),
        (["toy", "--protocols", ","], "--protocols is empty"),
        (["nosuch"], "nosuch"),
        (["toy", "--metrics", "nosuch"], "nosuch"),
    ):
        assert replay(*wrong, *words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.strip().count("\n") == 0


def test_weights_that_are_missing_are_told_in_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ["--dataset", str(photographs), "--limit", "3", "--metrics", "psnr", "--out", str(tmp_path / "runs")]
    assert replay("titok-s128", *words, "--protocols", "square-256,titok-256,paper-1024") == 3
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert all(name in line.partition(" weights not found")[0] for name in ("square-256", "titok-256", "paper-1024"))
    assert "3 images are few" not in said.err


def test_few_photographs_are_told_once(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dataset", str(photographs), "--limit", "3", "--metrics", "psnr", "--out", str(tmp_path / "runs")]
    assert replay("identity", *words, "--protocols", "square-256,titok-256,paper-1024") == 0
    assert capsys.readouterr().err.count("3 images are few") == 1


def test_published_numbers_stand_at_the_protocol_that_repeats_them() -> None:
    claims = [c for c in published.claims() if c.tokenizer == "titok-s128" and c.dataset == "imagenet"]
    assert "rFID 2.32 [1]" in published_texts(claims, "paper-1024")
    assert published_texts(claims, "titok-256") == ["rFID 1.71 [2]"]
    assert published_texts(claims, "") == ["rFID 3.91 [3]"]


def test_numbers_of_other_networks_and_other_photographs_are_kept_apart() -> None:
    """The pre-training networks are not those trained on ImageNet; at 384 px the photographs are of 384 px too."""
    of = {}
    for claim in published.claims():
        of.setdefault((claim.tokenizer, claim.dataset), []).append((claim.protocol, claim.value))
    assert of["open-magvit2-262k", "imagenet"] == [("seed-voken-256", 1.17)]
    assert of["open-magvit2-262k-pretrain", "imagenet"] == [("seed-voken-256", 1.67), ("seed-voken-native", 0.78)]
    assert of["open-magvit2-262k-pretrain", "coco"] == [("seed-voken-256", 6.76)]
    assert ("ibq-262k", "coco") not in of
    assert of["llamagen-vq16@input=384", "imagenet"] == [("", 0.94)]
