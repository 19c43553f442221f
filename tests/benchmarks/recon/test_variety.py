"""Variety: pictures that are all alike are told from those that show their photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.recon import variety
from lactok.errors import UserError
from lactok.evaluation.results import load_results


class Colours:
    """Stands for LPIPS: one map, the image at a quarter of its side; the distance is the mean absolute error."""

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.nn.functional.avg_pool2d(images, 4)]

    def distance(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> torch.Tensor:
        return (first[0] - second[0]).abs().mean((1, 2, 3))


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lactok.nn.lpips.load_lpips", lambda net, device: Colours())


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        variety.main(["--resolution", "32", "--metrics", "psnr", *arguments])
    return int(stop.value.code or 0)


def test_pictures_that_are_all_alike(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "from lactok.tokenizer import Tokenizer\n"
        "from lactok.specs import TokenizerSpec\n"
        "class Grey(Tokenizer):\n"
        "    spec = TokenizerSpec(name='grey', family='mine', tokens=1, codebook_size=2, input_size=32,\n"
        "                         output_size=32, license='MIT')\n"
        "    def _encode(self, images, seeds):\n"
        "        import torch\n"
        "        return torch.zeros(len(images), 1, dtype=torch.int64)\n"
        "    def _decode(self, ids, seeds):\n"
        "        import torch\n"
        "        return torch.full((len(ids), 3, 32, 32), 0.3)\n"
    )
    names = f"identity {tmp_path / 'mine.py'}:Grey"
    code = run("--tokenizers", names, "--dataset", str(photographs), "--limit", "6", "--out", str(tmp_path / "out"))
    assert code == 0
    (path,) = (tmp_path / "out").glob("variety*.json")
    same, grey = json.loads(path.read_text())
    assert (same["ratio"], same["right"]["value"], same["n"]) == (1, 1, 6)
    assert grey["photographs"] == same["photographs"] > 0
    assert grey["lpips"] == 0
    assert grey["right"]["value"] <= 1 / 6
    assert grey["right"]["chance"] == pytest.approx(1 / 6)
    assert "| grey" in capsys.readouterr().out


def test_each_picture_is_compared_with_those_before_it(tmp_path: Path) -> None:
    files = []
    for i in range(12):
        files.append(tmp_path / f"{i:02}.png")
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(files[-1])
    found = variety.variety_of(files, "cpu")
    assert found.features.shape == (12, 3)
    near = [20 * (i - j) / 127.5 for i in range(12) for j in range(max(0, i - variety.NEIGHBOURS), i)]
    np.testing.assert_allclose(found.distances, near, rtol=1e-5)


def test_pictures_that_were_deleted_are_told(photographs: Path, tmp_path: Path) -> None:
    assert run("--tokenizers", "resize-8", "--dataset", str(photographs), "--limit", "3", "--out", str(tmp_path)) == 0
    (result,) = load_results(tmp_path)
    for path in (result.folder / "images").glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match="run the same command again"):
        variety.kept_pictures(result)


def test_one_photograph_is_not_enough(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("--tokenizers", "resize-8", "--dataset", str(photographs), "--limit", "1", "--out", str(tmp_path))
    assert code == 2
    assert "one is not enough" in capsys.readouterr().err
