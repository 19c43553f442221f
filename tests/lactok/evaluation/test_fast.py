"""Runs whose metrics' networks compute in bfloat16: hashes of their own, what they say of themselves, resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lactok
from lactok.evaluation.config import Settings
from lactok.evaluation.table import markdown


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def test_fast_is_part_of_the_score_and_of_nothing_else() -> None:
    plain, fast = Settings().run().protocol, Settings(fast=True).run().protocol
    assert plain.prepare_hash == fast.prepare_hash
    assert plain.score_hash != fast.score_hash
    assert "fast" not in plain.score.settings()
    assert fast.score.settings()["fast"] is True


def test_a_fast_result_says_how_far_it_is_from_an_exact_one(photographs: Path, tmp_path: Path) -> None:
    settings = {"dataset": photographs, "resolution": 64, "metrics": "psnr,lpips_alex,rfid", "out": tmp_path / "out"}
    exact = lactok.evaluate("resize-8", **settings)
    fast = lactok.evaluate("resize-8", fast=True, **settings)
    assert exact.folder != fast.folder
    assert exact.data.fast is None
    part = fast.data.fast
    assert part is not None
    assert part.images == 4
    differences = np.abs(exact.records["lpips_alex"] - fast.records["lpips_alex"])
    assert part.largest == {"lpips_alex": pytest.approx(differences.max(), rel=1e-3)}
    assert 0 < part.largest["lpips_alex"] < 0.02
    assert part.distance.keys() == {"inception_tf1"}
    assert (exact.records["psnr"] == fast.records["psnr"]).all()
    table = markdown([exact, fast])
    assert "| resize-8 (fast)" in table
    assert "bfloat16" in table
    assert "LPIPS alex differs by at most" in table
    assert "(fast)" not in markdown([exact])


def test_what_a_fast_result_says_is_made_again_where_it_is_lost(photographs: Path, tmp_path: Path) -> None:
    settings = {"dataset": photographs, "resolution": 64, "metrics": "lpips_alex", "out": tmp_path / "out"}
    first = lactok.evaluate("resize-8", fast=True, **settings)
    before = (first.folder / "result.json").read_bytes()
    control = sorted((tmp_path / "out" / "store" / "control").rglob("*.npz"))
    assert len(control) == 4
    control[0].unlink()
    control[1].write_bytes(b"damaged")
    lactok.evaluate("resize-8", fast=True, **settings)
    assert (first.folder / "result.json").read_bytes() == before
    assert sorted((tmp_path / "out" / "store" / "control").rglob("*.npz")) == control
