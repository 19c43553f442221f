"""Time metrics and named alternatives in the same run: `tox -e bench`. Times are compared by eye, never asserted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage.metrics import structural_similarity as skimage_ssim

from lactok.metrics import frechet
from lactok.metrics.ssim import structural_similarity as lactok_ssim


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Return two similar random images, each (1, 3, 1024, 1024) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 3, 1024, 1024, generator=generator)
    return first, (first + 0.1 * torch.rand(first.shape, generator=generator)).clamp(0, 1)


def scikit_image(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the SSIM of two images (1, 3, H, W) by scikit-image."""
    a, b = (t[0].permute(1, 2, 0).numpy() for t in (first, second))
    return skimage_ssim(
        a, b, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


@pytest.mark.benchmark(group="SSIM, 1024 px")
@pytest.mark.parametrize("how", [lactok_ssim, scikit_image], ids=["suite", "scikit-image"])
def test_ssim(benchmark: Any, pair: tuple[torch.Tensor, torch.Tensor], how: Callable[..., Any]) -> None:
    value = benchmark(how, *pair)
    assert float(value) == pytest.approx(scikit_image(*pair), abs=1e-6)


def lactok_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Return the Frechet distance of features (N, D) as this suite computes it."""
    return frechet.frechet([x], [y])


def matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    """Return the Frechet distance of features (N, D) by scipy's matrix square root."""
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))


@pytest.mark.benchmark(group="Frechet distance, 3000 x 512 features")
@pytest.mark.parametrize("how", [lactok_frechet, matrix_root], ids=["suite", "scipy's matrix root"])
def test_frechet(benchmark: Any, how: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 512)), rng.normal(0.1, 1.1, size=(3000, 512))
    assert benchmark(how, x, y) == pytest.approx(matrix_root(x, y), rel=1e-6)
