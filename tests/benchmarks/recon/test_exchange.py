"""Ids of another photograph: the control that shows what ids carry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import lactok
from benchmarks.recon import exchange
from lactok import images
from lactok.evaluation import datasets, protocol
from lactok.metrics.psnr import psnr


def run(out: Path, tokenizers: str, photographs: Path, limit: int) -> int:
    with pytest.raises(SystemExit) as stop:
        exchange.main(
            [
                "--tokenizers",
                tokenizers,
                "--dataset",
                str(photographs),
                "--resolution",
                "32",
                "--metrics",
                "psnr",
                "--limit",
                str(limit),
                "--out",
                str(out),
            ]
        )
    return int(stop.value.code or 0)


def test_each_picture_is_decoded_from_the_next_ones_ids(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", "toy", photographs, 5) == 0
    prepare = protocol.get("square-256", 32).prepare
    samples = datasets.folder(photographs).limited(5).samples
    planes = [torch.from_numpy(images.prepare(s.open(), prepare).copy()).permute(2, 0, 1) for s in samples]
    pictures = torch.stack(planes)
    tok = lactok.load("toy")
    values = []
    for shift in (0, -1):
        outputs = tok.decode(tok.encode(pictures.roll(shift, 0).float() / 255))
        values.append(float(psnr(pictures, (outputs * 255).round().byte()).mean()))
    found = {}
    for path in (tmp_path / "out").glob("toy*/result.json"):
        result = json.loads(path.read_text())
        found[result["tokenizer"]["name"]] = result["metrics"]["psnr"]["value"]
    assert found == {"toy": pytest.approx(values[0]), "toy+exchanged": pytest.approx(values[1])}
    assert values[1] < values[0] - 3
    assert f"toy, ids exchanged: psnr {values[1] - values[0]:+.3f}" in capsys.readouterr().out


def test_both_rows_are_of_the_same_images(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image that cannot be read takes no other image out of the row of exchanged ids."""
    for name in ("003", "004", "069"):
        (photographs / f"{name}.png").write_bytes(b"no picture")
    assert run(tmp_path / "out", "toy", photographs, 70) == 0
    found = {r.label: r for r in lactok.load_results(tmp_path / "out").recon}
    own, exchanged = found["toy"], found["toy+exchanged"]
    assert own.n == exchanged.n == 67
    assert own.records["id"].tolist() == exchanged.records["id"].tolist()
    assert [image.id for image in exchanged.data.dataset.skipped] == ["003.png", "004.png", "069.png"]
    change = (exchanged.records["psnr"] - own.records["psnr"]).mean()
    said = capsys.readouterr().out
    assert f"toy, ids exchanged: psnr {change:+.3f}" in said
    assert "left out: 003.png, 004.png, 069.png: " in said


def test_one_readable_image_is_not_enough(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(photographs.iterdir())[1:]:
        path.write_bytes(b"no picture") if path.name == "001.png" else path.unlink()
    assert run(tmp_path / "out", "toy", photographs, 2) == 3
    assert "one that can be read is not enough" in capsys.readouterr().err


def test_mistakes(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "a", "toy", photographs, 1) == 2
    assert "one is not enough" in capsys.readouterr().err
    assert run(tmp_path / "b", "identity", photographs, 5) == 3
    assert "identity has no ids that could be exchanged" in capsys.readouterr().err
