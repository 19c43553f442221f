"""Photographs of differing shapes in one shard: each is measured as it would be alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image

import lactok
from lactok import fitting
from lactok.errors import UserError
from lactok.evaluation import shapes
from lactok.images import Prepare
from lactok.metrics.psnr import psnr
from lactok.metrics.ssim import ssim
from lactok.specs import TokenizerSpec

SIZES = [(64, 48), (48, 64), (64, 48), (81, 50), (48, 64), (64, 48)]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i, size in enumerate(SIZES):
        photograph(i, *size).save(folder / f"{i}.png")
    photograph(9, 64, 20).save(folder / "small.png")
    return folder


def _planes(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["native", "tokbench"])
def test_each_photograph_is_measured_at_its_own_size(name: str, mixed: Path, tmp_path: Path) -> None:
    result = lactok.evaluate(
        "resize-8", dataset=str(mixed), protocol=name, metrics="psnr,ssim", pictures="all", out=tmp_path
    )
    records = result.records.set_index("id")
    assert list(records.index) == [f"{i}.png" for i in range(6)]
    skipped = result.data.dataset.skipped
    assert [s.id for s in skipped] == ["small.png"]
    assert "metrics need 32 a side" in skipped[0].reason
    pictures = {p["sample"]: p["file"] for p in _index(result.folder)}
    for i, (width, height) in enumerate(SIZES):
        file = pictures[f"{i}.png"]
        made = Image.open(result.folder / "images" / file)
        assert made.size == (width, height)
        pair = _planes(photograph(i, width, height)), _planes(made.convert("RGB"))
        assert records.loc[f"{i}.png", "psnr"] == float(psnr(*pair)[0])
        assert records.loc[f"{i}.png", "ssim"] == float(ssim(*pair)[0])
    pixels = np.mean([w * h for w, h in SIZES])
    assert result.data.tokenizer.bpp == pytest.approx(24 * 64 / pixels)
    assert result.data.protocol.resolution == (256 if name == "tokbench" else None)


def _index(folder: Path) -> list[dict[str, str]]:
    import json

    return json.loads((folder / "images" / "index.json").read_text())["pictures"]


def test_ids_of_mixed_shapes_stand_in_the_order_of_the_samples(mixed: Path, tmp_path: Path) -> None:
    settings = {"dataset": str(mixed), "protocol": "tokbench", "metrics": "psnr"}
    result = lactok.evaluate("toy", out=tmp_path / "a", **settings)
    stored = np.load(result.folder / "tokens.npz")
    how, toy = Prepare(256, "box", upright=False), lactok.load("toy")
    for i, size in enumerate(SIZES):
        given = fitting.tokenizer_input(np.asarray(photograph(i, *size)), how, toy.spec)
        assert stored["ids"][i].tolist() == toy.encode(given[None])[0].tolist()
    again = lactok.evaluate("toy", out=tmp_path / "b", workers=2, **settings)
    assert (again.folder / "result.json").read_bytes() == (result.folder / "result.json").read_bytes()


def test_a_metric_of_all_pairs_takes_pairs_of_any_shape(mixed: Path, tmp_path: Path) -> None:
    key = "torchmetrics:UniversalImageQualityIndex"
    result = lactok.evaluate("resize-8", dataset=str(mixed), protocol="native", metrics=key, out=tmp_path)
    alone = [
        lactok.evaluate("resize-8", dataset=str(mixed), protocol="native", metrics=key, out=tmp_path / str(i), limit=i)
        for i in (1, 2)
    ]
    assert result[key].n == 6
    assert all(np.isfinite(r[key].value) for r in [result, alone[1]])


def test_a_photograph_too_small_for_a_metric_is_left_out_by_name(mixed: Path, tmp_path: Path) -> None:
    photograph(7, 200, 180).save(mixed / "large.png")
    result = lactok.evaluate("resize-8", dataset=str(mixed), protocol="native", metrics="ms_ssim", out=tmp_path)
    assert result.records["id"].tolist() == ["large.png"]
    assert result.data.dataset.skipped[0].reason == "has 64x48 pixels; ms_ssim needs 176 a side"


def test_a_tokenizer_of_one_size_is_refused_in_one_line(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy takes images of 32x32 px alone, and this protocol keeps the size") as info:
        lactok.evaluate("toy", dataset=str(mixed), protocol="native", metrics="psnr", out=tmp_path / "runs")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "runs").exists()


def test_the_border_is_grey_and_cut_off_again() -> None:
    how = Prepare(None, "pad")
    spec = TokenizerSpec("x", "x", None, None, None, None, "-", multiple=16)
    reference = np.asarray(photograph(0, 37, 50))
    given = fitting.tokenizer_input(reference, how, spec)
    assert given.shape == (3, 64, 48)
    assert torch.equal(given[:, :7], torch.full((3, 7, 48), 0.5))  # 14 rows to add: 7 above, 7 below
    assert torch.equal(given[:, :, :5], torch.full((3, 64, 5), 0.5))  # 11 columns: 5 before, 6 after
    back = fitting.reconstructions(given[None], (50, 37), how, multiple=16)
    assert np.array_equal(back[0].permute(1, 2, 0).numpy(), reference)


def test_arrays_of_groups_come_back_in_order() -> None:
    first = {"psnr": np.array([0.0, 2.0]), "x/sum": np.array([1.0])}
    second = {"psnr": np.array([1.0]), "x/sum": np.array([5.0])}
    arrays = shapes.joined([([0, 2], first), ([1], second)])
    assert arrays["psnr"].tolist() == [0.0, 1.0, 2.0]
    assert [s["sum"].tolist() for s in shapes.states(arrays, "x")] == [[1.0], [5.0]]
    assert shapes.joined([([0, 2], first)]) == first
