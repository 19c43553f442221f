"""Reconstructions that look for their originals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lactok
from benchmarks.recon import retrieval
from lactok import images
from lactok.evaluation import datasets, protocol
from lactok.metrics.retrieval import ranks
from lactok.metrics.scorer import Scorer


def run(out: Path, *args: str) -> int:
    with pytest.raises(SystemExit) as stop:
        retrieval.main([*args, "--resolution", "32", "--out", str(out)])
    return int(stop.value.code or 0)


def test_ranks_go_by_angle_not_by_length() -> None:
    originals = np.array([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0]], np.float32)
    outputs = np.array([[100.0, 1.0], [0.2, 0.1], [0.1, 0.1]], np.float32)
    assert ranks(outputs, originals).tolist() == [0, 2, 0]
    assert ranks(originals, originals).tolist() == [0, 0, 0]


@pytest.mark.slow
def test_shares_of_a_tokenizer_and_with_ids_exchanged(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(out, "--tokenizers", "toy", "--dataset", str(photographs), "--limit", "5", "--metrics", "rfid") == 0
    (path,) = out.glob("retrieval__*.json")
    own, exchanged = json.loads(path.read_text())
    assert (own["name"], exchanged["name"]) == ("toy", "toy+exchanged")
    assert own["n"] == exchanged["n"] == 5
    assert own["right"]["chance"] == exchanged["right"]["chance"] == 0.2
    assert own["rank"]["chance"] == 2
    samples = datasets.folder(photographs).limited(5).samples
    prepare = protocol.get("square-256", 32).prepare
    pictures = torch.stack([torch.from_numpy(images.prepare(s.open(), prepare).copy()) for s in samples])
    pictures = pictures.permute(0, 3, 1, 2)
    tok = lactok.load("toy")
    scorer = Scorer(["rfid"])
    originals = scorer.describe(pictures)["inception_tf1"]
    for row, shift in ((own, 0), (exchanged, -1)):
        outputs = (tok.decode(tok.encode(pictures.roll(shift, 0).float() / 255)) * 255).round().byte()
        found = ranks(scorer.describe(outputs)["inception_tf1"], originals)
        assert row["right"]["value"] == (found == 0).mean()
        assert row["rank"]["value"] == found.mean()
    said = capsys.readouterr().out
    assert f"{own['right']['value']:.3f}" in said
    assert str(path) in said


@pytest.mark.slow
def test_mistakes(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--dataset", str(photographs), "--limit", "5")
    assert run(tmp_path / "a", "--tokenizers", "toy", *data, "--metrics", "psnr") == 2
    assert "name one of them" in capsys.readouterr().err
    assert run(tmp_path / "b", "--tokenizers", "toy", *data, "--part", "1/2") == 2
    assert "leave it out" in capsys.readouterr().err
    assert run(tmp_path / "c", "--tokenizers", "identity", *data) == 3
    assert "identity has no ids that could be exchanged" in capsys.readouterr().err
