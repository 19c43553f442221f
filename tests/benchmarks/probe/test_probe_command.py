"""`python -m benchmarks.probe` on small pictures: what it writes, what it takes up again, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lactok
from benchmarks.probe import __main__ as command
from benchmarks.probe import work
from lactok.evaluation.results import ProbeResult, load_results
from lactok.evaluation.schema import as_data, parsed

SMALL = ("--resolution", "32", "--metrics", "psnr")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        command.main([str(word) for word in words])
    return int(ended.value.code or 0)


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return the one line that the command ends with, for which its exit code is 2."""
    capsys.readouterr()
    assert run(*words) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    return said


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """12 dark and 12 bright pictures, each in a folder of their own, whose mean colours tell them apart."""
    rng = np.random.default_rng(0)
    for name, low in (("bright", 150), ("dark", 0)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            cells = rng.integers(low, low + 100, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(cells).resize((32, 32), Image.Resampling.NEAREST).save(
                tmp_path / "pictures" / name / f"{i:02}.png"
            )
    return tmp_path / "pictures"


def stored(out: Path) -> ProbeResult:
    (found,) = load_results(out).probe
    return found


def stable_bytes(out: Path) -> Sequence[bytes]:
    folder = stored(out).folder
    return [(folder / name).read_bytes() for name in ("result.json", "records.parquet")]


@pytest.mark.slow
def test_tokenizers_are_measured_and_probed(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    words = ("--tokenizers", "toy", "--dataset", classes, *SMALL, "--steps", "2")
    assert run(*words, "--out", out) == 0
    shown = capsys.readouterr().out
    result = stored(out)
    assert result.label == "toy"
    assert result["probe_accuracy"].value is not None
    assert result["probe_accuracy"].value > 0.9
    assert result["probe_accuracy"].n == 24
    assert result.data.labels.chance == 0.5
    raw = 16 * 6
    bits = result["bits_per_image"].value
    assert bits is not None
    assert result["share_of_raw_bits"].value == pytest.approx(bits / raw)
    assert result["bits_per_id"].value == pytest.approx(bits / 16)
    assert result.data.split.level_bits == [pytest.approx(bits / 16)]
    records = result.records
    assert (records["named"] == records["label"]).mean() == pytest.approx(result["probe_accuracy"].value)
    assert records["part"].value_counts().to_dict() == {"training": 18, "held out": 4, "validation": 2}
    assert records["bits"].mean() == pytest.approx(bits)
    for said in ("probe accuracy ↑", "| toy ", "50.0 |", "24 photographs of 2 classes (folders)", "18 photographs for"):
        assert said in shown, shown
    assert "probes of" in load_results(out).table()
    assert parsed(json.loads((result.folder / "result.json").read_text()))[0] == result.data
    assert as_data(result.data)["suite"] == "probe"

    before = stable_bytes(out)
    monkeypatch.setattr(work, "learn", None)  # nothing is computed twice
    monkeypatch.setattr(work, "predictions", None)
    assert run("--runs", out, "--steps", "2", "--out", out) == 0
    assert stable_bytes(out) == before


@pytest.mark.slow
def test_the_same_work_gives_the_same_bytes(classes: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        lactok.evaluate("toy", dataset=classes, metrics="psnr", resolution=32, out=tmp_path / "recon")
        assert run("--runs", tmp_path / "recon", "--steps", "1", "--out", out) == 0
    assert stable_bytes(first) == stable_bytes(second)


@pytest.mark.slow
def test_without_labels_there_is_the_autoregressive_part_alone(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recon, out = tmp_path / "recon", tmp_path / "out"
    lactok.evaluate("toy", dataset=photographs, metrics="psnr", resolution=32, limit=20, out=recon)
    assert run("--runs", recon, "--steps", "1", "--out", out) == 0
    assert "- under probe accuracy: no labels: the photographs do not lie in folders" in capsys.readouterr().out
    result = stored(out)
    assert result["probe_accuracy"].value is None
    assert result["bits_per_id"].value is not None
    assert result.data.labels is None
    (tmp_path / "labels.csv").write_text("".join(f"{name},{i % 2}\n" for i, name in enumerate(result.records["id"])))
    assert run("--runs", recon, "--steps", "1", "--out", out, "--labels", tmp_path / "labels.csv") == 0
    labelled = [r for r in load_results(out).probe if r.data.labels is not None]
    assert [r.data.labels.source for r in labelled] == ["labels.csv"]


def test_too_few_photographs_say_so(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recon = tmp_path / "recon"
    lactok.evaluate("toy", dataset=photographs, metrics="psnr", resolution=32, limit=4, out=recon)
    assert run("--runs", recon, "--out", recon) == 0
    assert "needs 10 different photographs or more" in capsys.readouterr().out
    assert stored(recon).data.split is None


@pytest.mark.slow
def test_a_tokenizer_without_vectors_says_so(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recon = tmp_path / "recon"
    lactok.evaluate("toy", dataset=classes, metrics="psnr", resolution=32, out=recon)
    assert run("--runs", recon, "--steps", "1", "--vectors", "--out", recon) == 0
    assert "- under accuracy by code vectors: toy has no single codebook of vectors" in capsys.readouterr().out


def test_a_plan_computes_nothing(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recon = tmp_path / "recon"
    lactok.evaluate("toy", dataset=classes, metrics="psnr", resolution=32, out=recon)
    monkeypatch.setattr(work, "learn", None)
    assert run("--runs", recon, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "1 to base 64" in shown
    assert "400 steps of 2048 symbols" in shown
    assert run("--tokenizers", "toy", "--dataset", classes, *SMALL, "--out", tmp_path / "new", "--dry-run") == 0
    assert "Then their ids are probed" in capsys.readouterr().out
    assert not load_results(recon).probe


def test_mistakes_are_one_line(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recon = tmp_path / "recon"
    lactok.evaluate("toy", dataset=classes, metrics="psnr", resolution=32, out=recon)
    lactok.evaluate("resize-8", dataset=classes, metrics="psnr", resolution=32, out=tmp_path / "codec")
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((), "name what is to be probed: --runs DIR"),
        (("--runs", tmp_path / "nowhere"), "no such folder"),
        (("--runs", recon, "--dataset", "coco"), "--dataset does not go with --runs"),
        (("--runs", recon, "--tokenizers", "tot"), "unknown tokenizer with stored ids 'tot', did you mean 'toy'?"),
        (("--runs", tmp_path / "codec"), "holds no row of benchmarks.recon with ids"),
        (("--runs", recon, "--steps", "0"), "--steps 0"),
        (("--runs", recon, "--probe-seed", "-1"), "--probe-seed -1"),
        (("--runs", recon, "--labels", "folder"), "--labels folder: folders, none, or a file that ends in .csv"),
        (("--runs", recon, "--labels", tmp_path / "x.csv"), "no such file"),
        (("--tokenizers", "tot"), "unknown tokenizer 'tot'"),
        (("--tokenizers", "toy resize-8"), "--tokenizers resize-8 has no ids that could be probed"),
        (("--tokenizers", "toy", "--part", "1/2"), "--part: a probe learns from all ids at once"),
    ]
    for words, said in cases:
        assert said in error_of(capsys, *words), words
    ids = next(recon.glob("*/tokens.npz"))
    np.savez(ids, ids=np.full((24, 16), 64), samples=np.array([f"{i}" for i in range(24)]))
    assert "holds no ids of 64 codes" in error_of(capsys, "--runs", recon)
    ids.write_bytes(b"damaged")
    assert "tokens.npz is damaged" in error_of(capsys, "--runs", recon)
