"""The kernels that score images against plain networks and formulas, to the tolerances that numbers are held to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.lpips import alex_maps, lpips_alex
from lactok.metrics.psnr import psnr, squared_errors
from lactok.metrics.scorer import Scorer
from lactok.metrics.ssim import WINDOW, blur, filtered_means, ssim, structural_similarity
from lactok.nn.inception import inception, tf1_resize
from lactok.nn.inception_scoring import tf1_resize_uint8
from lactok.nn.lpips import load_lpips


def pair(height: int, width: int, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, height // 8 + 1, width // 8 + 1), generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    noise = torch.randn(smooth.shape, generator=generator) * 0.05
    return (smooth * 255).to(torch.uint8), ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8)


def plain_ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the SSIM (B,) of images (B, 3, H, W) float64 by a convolution with the window."""
    x = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-((x / 1.5) ** 2) / 2)
    window = torch.outer(window, window) / window.sum() ** 2

    def filtered(planes: torch.Tensor) -> torch.Tensor:
        return F.conv2d(planes.flatten(0, 1)[:, None], window[None, None]).unflatten(0, planes.shape[:2])[:, :, 0]

    mean_x, mean_y = filtered(first), filtered(second)
    covariance = filtered(first * second) - mean_x * mean_y
    variances = filtered(first * first) - mean_x**2 + filtered(second * second) - mean_y**2
    values = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    values = values / ((mean_x**2 + mean_y**2 + 1e-4) * (variances + 9e-4))
    return values.mean((1, 2, 3))


@pytest.mark.parametrize("size", [(11, 11), (42, 43), (74, 74), (75, 200), (256, 256)])
def test_ssim_is_the_plain_formula(size: tuple[int, int]) -> None:
    references, outputs = pair(*size)
    expected = plain_ssim(references.double() / 255, outputs.double() / 255)
    torch.testing.assert_close(ssim(references, outputs), expected, rtol=1e-5, atol=1e-7)
    assert ssim(references, outputs, known=filtered_means(references)).equal(ssim(references, outputs))
    torch.testing.assert_close(ssim(references, references), torch.ones(2).double(), rtol=0, atol=1e-7)
    as_floats = structural_similarity(references.float() / 255, outputs.float() / 255)
    torch.testing.assert_close(as_floats, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(11, 11), (43, 75)])
def test_blur_is_a_convolution(size: tuple[int, int]) -> None:
    planes = torch.rand(2, 3, *size)
    x = torch.arange(WINDOW) - 5.0
    window = torch.exp(-((x / 1.5) ** 2) / 2)
    window = torch.outer(window, window) / window.sum() ** 2
    expected = F.conv2d(planes.flatten(0, 1)[:, None], window[None, None])[:, 0].unflatten(0, (2, 3))
    torch.testing.assert_close(blur(planes), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(blur(planes[0, 0]), expected[0, 0], rtol=1e-5, atol=1e-6)


def test_squared_errors_are_exact() -> None:
    references, outputs = pair(33, 57)
    outputs[0], references[0] = 0, 255
    expected = (references.long() - outputs.long()).square().sum((1, 2, 3))
    assert squared_errors(references, outputs).equal(expected)
    assert psnr(references, outputs)[0] == 0


def test_lpips_for_scoring_is_lpips() -> None:
    references, outputs = pair(96, 130, count=3)
    network = load_lpips("alex")
    with torch.inference_mode():
        expected = network(references.float() / 127.5 - 1, outputs.float() / 127.5 - 1).double()
        torch.testing.assert_close(lpips_alex(references, outputs), expected, rtol=1e-5, atol=0)
        known = alex_maps(references)
        assert lpips_alex(references, outputs, known=known).equal(lpips_alex(references, outputs))
        assert lpips_alex(references, references).tolist() == [0.0] * 3
        near = lpips_alex(references, outputs, fast=True)
    torch.testing.assert_close(near, expected, rtol=0.02, atol=0)
    assert not near.equal(expected)


@pytest.mark.parametrize("size", [(80, 100), (299, 299), (640, 512)])
def test_the_resize_of_uint8_is_tensorflows_bit_for_bit(size: tuple[int, int]) -> None:
    images, _ = pair(*size)
    assert tf1_resize_uint8(images).equal(tf1_resize(images))


def test_features_with_folded_norms_are_inceptions() -> None:
    images, _ = pair(120, 150)
    with torch.inference_mode():
        expected = inception()(tf1_resize(images)).numpy()
        found = INCEPTION_TF1.compute(images, "cpu")
        fast = INCEPTION_TF1.compute(images, "cpu", fast=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == fast.dtype == np.float32
    assert 0 < np.abs(fast - expected).max() < 0.2


def test_scores_of_pieces_with_what_is_known_are_the_same_bytes() -> None:
    references, outputs = pair(64, 80, count=11)
    scorer = Scorer(("psnr", "ssim", "lpips_alex"))
    whole = scorer.compare(references, outputs)
    parts = []
    for piece in scorer.pieces(len(references), *references.shape[-2:]):
        known: dict[str, object] = {}
        scorer.values(references[piece], references[piece], known)  # another tokenizer's, which fills what is known
        assert known.keys() == {"ssim", "lpips_alex"}
        parts.append(scorer.values(references[piece], outputs[piece], known))
    for key, values in whole.items():
        assert np.concatenate([part[key] for part in parts]).tobytes() == values.tobytes()
