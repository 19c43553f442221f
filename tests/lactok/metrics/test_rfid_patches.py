"""The rFID of patches: cutting, storing several rows of an image, shards, parts, images of differing shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lactok
from lactok.evaluation.shapes import joined
from lactok.evaluation.store import FeatureBlocks, Store
from lactok.metrics import rfid_patches
from lactok.metrics.frechet import frechet
from lactok.metrics.registry import Features, Metric, find


def means(images: torch.Tensor, device: str) -> np.ndarray:
    """A mean colour for each patch instead of Inception's features, (B, N, 3)."""
    cut = rfid_patches.patches(images).float()
    return cut.mean((2, 3)).reshape(len(images), -1, 3).numpy()


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """The metric with cheap features."""
    metric = find("rfid_patch256")
    features = Features("patch-means", means, rows=rfid_patches.patches_in)
    monkeypatch.setitem(metric.__dict__, "features", features)
    return metric


def folder(path: Path, sizes: list[tuple[int, int]]) -> Path:
    path.mkdir()
    for i, (height, width) in enumerate(sizes):
        noise = np.random.default_rng(i).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST).save(path / f"{i}.png")
    return path


def test_patches_are_cut_row_by_row() -> None:
    images = torch.randint(0, 256, (2, 3, 520, 800), dtype=torch.uint8)
    found = rfid_patches.patches(images)
    assert found.shape == (12, 3, 256, 256)
    torch.testing.assert_close(found[1], images[0, :, 4:260, 16 + 256 : 16 + 512])
    torch.testing.assert_close(found[6 + 3], images[1, :, 260:516, 16:272])
    assert rfid_patches.patches(images[..., :200]).shape == (0, 3, 256, 256)


def test_a_result_counts_patches(cheap: Metric, tmp_path: Path) -> None:
    photographs = folder(tmp_path / "photographs", [(512, 512)] * 5)
    options = {"dataset": photographs, "resolution": 512, "metrics": "rfid_patch256,psnr", "threads": 1}
    result = lactok.evaluate("resize-8", **options, out=tmp_path / "out", pictures="all")
    entry = result["rfid_patch256"]
    assert (entry.n, entry.rows, entry.reliable) == (5, 20, False)
    assert "~ rFID of fewer than 2049 patches is biased upwards" in result.table()
    pictures = sorted((result.folder / "images").rglob("*.png"))
    assert pictures
    parts = tmp_path / "parts"
    for part in ("2/2", "1/2"):
        try:
            again = lactok.evaluate("resize-8", **options, out=parts, part=part, pictures="all")
        except lactok.errors.UserError as error:
            assert "other parts still have shards" in str(error)  # noqa: PT017
    assert (again.folder / "result.json").read_bytes() == (result.folder / "result.json").read_bytes()


def test_images_of_differing_sizes_and_unreadable_ones(cheap: Metric, tmp_path: Path) -> None:
    """At their own size photographs have differing numbers of patches; those smaller than a patch are left out."""
    photographs = folder(tmp_path / "photographs", [(512, 512), (256, 768), (192, 256), (512, 256)])
    (photographs / "00.png").write_bytes(b"no picture")
    options = {"dataset": photographs, "protocol": "native", "metrics": "rfid_patch256"}
    result = lactok.evaluate("jpeg", **options, out=tmp_path / "out")
    assert (result["rfid_patch256"].n, result["rfid_patch256"].rows) == (3, 4 + 3 + 2)
    assert len(result.data.dataset.skipped) == 2
    outputs, references = [], []
    store = Store(tmp_path / "out")
    for kind, rows in (("scores", outputs), ("reference", references)):
        for path in (tmp_path / "out" / "store" / kind).rglob("*.npz"):
            blocks = FeatureBlocks(store, kind, [path.stem], "patch-means", [None])
            rows.append(blocks[0])
            assert blocks.rows_of_images().tolist() == [4, 3, 2]
            assert not np.isnan(blocks[0]).any()
    expected = frechet(references, outputs)
    assert result["rfid_patch256"].value == pytest.approx(expected, rel=1e-12)


def test_groups_of_shapes_are_filled_up() -> None:
    first, second = np.ones((2, 1, 3), np.float32), np.full((1, 4, 3), 2, np.float32)
    found = joined([([0, 2], {"x": first}), ([1], {"x": second})])["x"]
    assert found.shape == (3, 4, 3)
    assert np.isnan(found[0, 1:]).all()
    assert (found[1] == 2).all()


@pytest.mark.slow
def test_at_256_px_it_is_the_rfid(tmp_path: Path) -> None:
    result = lactok.evaluate("resize-8", metrics="rfid,rfid_patch256", limit=4, out=tmp_path)
    assert result["rfid_patch256"].value == pytest.approx(result["rfid"].value, rel=1e-4)
    assert result["rfid_patch256"].rows == 4
