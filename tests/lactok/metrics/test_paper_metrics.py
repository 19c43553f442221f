"""The second readings of the paper's columns, MS-SSIM and pooled PSNR, against torchmetrics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.image import PeakSignalNoiseRatio

import lactok
from lactok.errors import WrongValue
from lactok.evaluation.protocol import get
from lactok.evaluation.table import markdown
from lactok.metrics.ms_ssim import SMALLEST, ms_ssim
from lactok.metrics.psnr import CAP, pooled, psnr
from lactok.metrics.registry import StateMetric, find


def photographs(height: int = 300, width: int = 400) -> Tensor:
    """Five photographs that come with scikit-image, (5, 3, height, width) uint8."""
    pictures = (data.astronaut(), data.coffee(), data.rocket(), data.chelsea(), data.hubble_deep_field())
    cut = [np.ascontiguousarray(picture[:height, :width]) for picture in pictures]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)


def noisy(images: Tensor) -> Tensor:
    noise = torch.randint(-30, 30, images.shape, generator=torch.Generator().manual_seed(0))
    return (images.int() + noise).clamp(0, 255).byte()


@pytest.mark.parametrize("size", [(300, 400), (176, 181)])
def test_ms_ssim_is_torchmetrics_and_nan_where_that_is_nan(size: tuple[int, int]) -> None:
    images = photographs(*size)
    expected, found = [], []
    for outputs in (images.roll(1, 0), noisy(images), 255 - images, images):
        pair = (outputs.float() / 255, images.float() / 255)
        theirs = multiscale_structural_similarity_index_measure(*pair, data_range=1.0, normalize=None, reduction="none")
        expected.append(theirs.double())
        found.append(ms_ssim(images, outputs))
    torch.testing.assert_close(torch.cat(found), torch.cat(expected), atol=1e-5, rtol=0, equal_nan=True)
    assert 0 < torch.cat(found).isnan().sum() < 10  # the inverted images, and some pairs of different ones


def test_small_images_have_no_ms_ssim() -> None:
    images = photographs(SMALLEST - 1, 400)
    assert ms_ssim(images, images).isnan().all()
    with pytest.raises(WrongValue, match="ms_ssim needs images of 176 px or more, these have 128"):
        get("square-256", 128, "psnr,ms_ssim")
    assert "ms_ssim" not in get("square-256", 128, "all").score.metrics
    assert "ms_ssim" in get("square-256", 176, "all").score.metrics


def test_pooled_psnr_is_torchmetrics_for_any_shards() -> None:
    metric = find("psnr_pooled")
    assert isinstance(metric, StateMetric)
    images = photographs()
    outputs = noisy(images)
    outputs[0] = 0
    oracle = PeakSignalNoiseRatio(data_range=1.0)
    oracle.update(outputs.double() / 255, images.double() / 255)
    whole = metric.merge([metric.state(images, outputs, "cpu")])
    parts = [metric.state(images[i : i + 2], outputs[i : i + 2], "cpu") for i in (0, 2, 4)]
    assert whole == metric.merge(parts) == pytest.approx(float(oracle.compute()), abs=1e-4)
    assert whole < float(psnr(images, outputs).mean())
    assert pooled([metric.state(images, images, "cpu")]) == CAP


def test_a_result_counts_images_without_a_value(tmp_path: Path) -> None:
    """Reconstructions of which one is another photograph's negative: the mean is nan, as in the paper."""
    for folder in ("references", "outputs"):
        (tmp_path / folder).mkdir()
    images = photographs(200, 200)[:3]
    outputs = noisy(images)
    outputs[1] = 255 - images[1]
    for i in range(3):
        for folder, batch in (("references", images), ("outputs", outputs)):
            Image.fromarray(batch[i].permute(1, 2, 0).numpy()).save(tmp_path / folder / f"{i}.png")
    result = lactok.evaluate(
        tmp_path / "outputs",
        references=tmp_path / "references",
        resolution=200,
        metrics="psnr,psnr_pooled,ms_ssim",
        out=tmp_path / "out",
    )
    entry = result["ms_ssim"]
    assert (entry.value, entry.ci95, entry.n, entry.nan) == (None, None, 3, 1)
    column = result.records["ms_ssim"].to_numpy()
    assert [math.isnan(value) for value in column] == [False, True, False]
    assert entry.mean_of_others == pytest.approx(np.nanmean(column))
    text = markdown([result])
    assert " nan |" in text
    said = f"it is not defined for 1 of 3 images; the mean of the others is {np.nanmean(column):.3f}."
    assert f"nan under MS-SSIM: {said}" in text
    assert result["psnr_pooled"].value < result["psnr"].value
    assert result["psnr"].nan is None
