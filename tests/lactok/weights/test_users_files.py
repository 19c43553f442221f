"""Weights in a user's folders: files that change while a program runs, and folders that are not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from safetensors.torch import save_file

import lactok
from lactok import registry
from lactok.errors import UserError
from lactok.evaluation.evaluate import resolve_sources


def test_other_weights_in_one_process_are_other_weights(own_cache: Path, tmp_path: Path) -> None:
    """What is measured, its digest and the store's key go together, also after the file was overwritten."""
    folder = tmp_path / "mine"
    folder.mkdir()
    tensors = dict(registry.load("llamagen-vq16-tiny").model.state_dict())
    found = []
    for factor in (1.0, 0.5):
        changed = {k: v * (factor if k.startswith("decoder.") else 1.0) for k, v in tensors.items()}
        save_file(changed, folder / "llamagen-vq16-tiny.safetensors")
        result = lactok.evaluate(
            "llamagen-vq16-tiny", weights=str(folder), metrics="psnr", limit=1, resolution=64, out=tmp_path / "out"
        )
        digest = hashlib.sha256((folder / "llamagen-vq16-tiny.safetensors").read_bytes()).hexdigest()
        assert result.data.tokenizer.assets[0].sha256 == digest
        found.append(result["psnr"].value)
    assert found[0] != found[1]


def test_a_folder_that_is_not_there_is_said(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACTOK_WEIGHTS", "training-runs/typo")
    with pytest.raises(UserError, match="LACTOK_WEIGHTS names training-runs/typo: no such folder"):
        registry.load("llamagen-vq16-tiny")


def test_weights_from_elsewhere_are_said(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    with caplog.at_level("INFO", "lactok"):
        resolve_sources(["llamagen-vq16-tiny", "resize-8"])
    assert "not among the user's own weights, so taken from elsewhere: llamagen-vq16-tiny" in caplog.text
