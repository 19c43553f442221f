"""Every metric against the library that defines it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from lactok.metrics import frechet
from lactok.metrics.kid import kid
from lactok.metrics.psnr import CAP, psnr
from lactok.metrics.ssim import ssim_uniform7
from lactok.metrics.ssim import structural_similarity as ssim
from lactok.nn import inception
from lactok.nn.lpips import load_lpips


def pair(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)
    shift = torch.randint(-20, 21, first.shape, generator=generator)
    return first, (first.int() + shift).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("size", [(32, 32), (33, 57), (11, 40), (128, 96)])
class TestFidelity:
    keyword: ClassVar[dict[str, object]] = {"channel_axis": -1, "data_range": 1.0}

    def arrays(self, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
        a, b = (t.permute(0, 2, 3, 1).numpy().astype(np.float64) / 255 for t in pair(*size))
        return list(zip(a, b, strict=True))

    def test_psnr_is_skimages(self, size: tuple[int, int]) -> None:
        expected = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in self.arrays(size)]
        np.testing.assert_allclose(psnr(*pair(*size)), expected, rtol=1e-12)

    def test_ssim_is_skimages_gaussian(self, size: tuple[int, int]) -> None:
        settings = self.keyword | {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = [structural_similarity(a, b, **settings) for a, b in self.arrays(size)]
        a, b = (t.float() / 255 for t in pair(*size))
        np.testing.assert_allclose(ssim(a, b), expected, atol=1e-6)

    def test_ssim_with_reflection_is_torchmetrics(self, size: tuple[int, int]) -> None:
        a, b = (t.float() / 255 for t in pair(*size))
        expected = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
        np.testing.assert_allclose(ssim(a, b, reflect=True), expected, atol=1e-5)

    def test_uniform_ssim_is_skimages_default(self, size: tuple[int, int]) -> None:
        expected = [structural_similarity(a, b, **self.keyword) for a, b in self.arrays(size)]
        np.testing.assert_allclose(ssim_uniform7(*pair(*size)), expected, atol=1e-6)


def test_psnr_of_equal_images_is_capped() -> None:
    a, _ = pair(16, 16)
    assert psnr(a, a).tolist() == [CAP] * 2


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


@pytest.mark.parametrize(("n", "m", "d"), [(300, 400, 16), (20, 30, 64), (40, 500, 64)])
def test_frechet_is_scipys_matrix_root(n: int, m: int, d: int) -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, d)), rng.normal(0.3, 1.2, size=(m, d))
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet.frechet(np.array_split(x, 3), [y]) == pytest.approx(expected, rel=1e-6)


def test_kid_is_torch_fidelitys_and_does_not_depend_on_blocks() -> None:
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 32)), rng.normal(0.2, 1, size=(50, 32))
    kernel = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    k_xx, k_yy, k_xy = (kernel_poly(a, b, **kernel) for a, b in ((x, x), (y, y), (x, y)))
    expected = mmd2(k_xx, k_xy, k_yy, mmd_est="unbiased")
    assert kid([x], [y]) == pytest.approx(expected, rel=1e-9)
    assert kid(np.array_split(x, 7), np.array_split(y, 3)) == pytest.approx(expected, rel=1e-9)


def test_distances_of_one_image_are_undefined() -> None:
    one = [np.zeros((1, 8))]
    assert np.isnan(frechet.frechet(one, one))
    assert np.isnan(kid(one, one))


def test_moments_merge_exactly() -> None:
    x = np.random.default_rng(3).normal(size=(100, 8)).astype(np.float32)
    moments = frechet.Moments.of(np.array_split(x, 9))
    np.testing.assert_allclose(moments.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10)


def test_moments_of_a_large_block_take_little_memory() -> None:
    import tracemalloc

    x = np.random.default_rng(3).normal(size=(40_000, 16)).astype(np.float32)
    tracemalloc.start()
    moments = frechet.Moments.of([x[:0], x])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(moments.covariance, np.cov(x.astype(np.float64), rowvar=False), atol=1e-12)
    assert most < x.nbytes


@pytest.mark.slow
def test_inception_is_torch_fidelitys(tmp_path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    ours = inception.inception()
    state = dict(ours.state_dict()) | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, tmp_path / "inception.pth")
    theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(tmp_path / "inception.pth"))
    images = torch.randint(0, 256, (2, 3, 80, 100), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(ours(inception.tf1_resize(images)), theirs(images)[0], atol=1e-5, rtol=1e-4)


def test_lpips_is_the_lpips_package() -> None:
    import lpips

    ours = load_lpips("alex")
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)  # its own heads; the backbone is ours
    theirs.net.load_state_dict(ours.model.net.state_dict())
    a, b = (t.float() / 127.5 - 1 for t in pair(64, 64))
    with torch.inference_mode():
        torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), atol=1e-6, rtol=1e-5)
        reference = ours.features(a)
        torch.testing.assert_close(ours.distance(reference, ours.features(b)), ours(a, b), atol=0, rtol=0)
