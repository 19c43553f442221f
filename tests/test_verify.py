"""Replay of the reference sets; a wrong value must be seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import shared
from safetensors.torch import load_file, save_file

from benchmarks.verify.__main__ import main
from benchmarks.verify.manifest import MODELS


def verify(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


SETS = [
    "llamagen_vq16", "metrics", "vqgan_f16", "titok_s128", "titok_b64", "titok_rgb_nonlegacy", "flextok",
    "flextok_maxt1", "seed2", "seed2_unclip", "geneval", "rewards",
]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_reference_sets_hold(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(shared("golden", name)) == 0
    assert capsys.readouterr().out.strip().endswith(" checked, 0 failed")


@pytest.mark.parametrize("name", MODELS)
def test_manifests_hold(name: str) -> None:
    assert verify("--manifest", shared("manifests", f"{name}.json")) == 0


def test_a_wrong_value_and_an_unchecked_tensor_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    shutil.copytree(shared("golden", "llamagen_vq16"), folder)
    io = load_file(folder / "io.safetensors")
    io["pre_quant"][0, 0, 0, 0] += 0.01
    io["another"] = io["image"].clone()
    (folder / "io.safetensors").unlink()
    save_file(io, folder / "io.safetensors")
    assert verify(folder) == 1
    out = capsys.readouterr().out
    assert "pre_quant  max abs diff 0.01" in out
    assert "another  stored but never checked  FAIL" in out
    assert out.strip().endswith("2 failed")


def test_a_wrong_manifest_fails(tmp_path: Path) -> None:
    manifest = json.loads(shared("manifests", "llamagen_vq16.json").read_text())
    manifest["tensors"][0]["shape"][0] += 1
    (tmp_path / "llamagen_vq16.json").write_text(json.dumps(manifest))
    assert verify("--manifest", tmp_path / "llamagen_vq16.json") == 1


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify() == 2
    assert verify(tmp_path) == 2
    (tmp_path / "set.json").write_text('{"kind": "llamagen_vqq", "name": "x"}')
    assert verify(tmp_path) == 2
    assert "did you mean 'llamagen_vq'" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("[]")
    assert verify("--manifest", tmp_path / "other.json") == 2
