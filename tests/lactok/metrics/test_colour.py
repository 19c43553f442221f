"""Colour errors against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from lactok.metrics.colour import _ciede2000, delta_e, lightness_shift

# the pairs of Sharma et al. 2005, Table 1, that try the special cases: L, a, b of both, and the difference
SHARMA = (
    (50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425),
    (50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615),
    (50, 2.8361, -74.0200, 50, 0, -82.7485, 3.4412),
    (50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000),
    (50, 0, 0, 50, -1, 2, 2.3669),
    (50, -1, 2, 50, 0, 0, 2.3669),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0009, 7.1792),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0011, 7.2195),
    (50, -0.0010, 2.4900, 50, 0.0009, -2.4900, 4.8045),
    (50, -0.0010, 2.4900, 50, 0.0011, -2.4900, 4.7461),
    (50, 2.5, 0, 50, 0, -2.5, 4.3065),
    (50, 2.5, 0, 73, 25, -18, 27.1492),
    (50, 2.5, 0, 61, -5, 29, 22.8977),
    (50, 2.5, 0, 56, -27, -3, 31.9030),
    (50, 2.5, 0, 58, 24, 15, 19.4535),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def photograph_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    cat, cup = data.chelsea()[:200, :300], data.coffee()[:200, :300]
    noisy = np.clip(cat.astype(int) + rng.integers(-3, 4, cat.shape), 0, 255).astype(np.uint8)
    grey = np.repeat(cat[..., :1], 3, 2)
    random = rng.integers(0, 256, cat.shape, dtype=np.uint8)
    return [(cat, noisy), (cat, cup), (cat, grey), (random, cat)]


@pytest.mark.parametrize("pair", range(4))
def test_both_are_scikit_images(pair: int) -> None:
    reference, output = photograph_pairs()[pair]
    lab = rgb2lab(reference), rgb2lab(output)
    batches = tensor(reference)[None], tensor(output)[None]
    assert float(delta_e(*batches)) == pytest.approx(deltaE_ciede2000(*lab).mean(), rel=1e-4)
    shift = lab[1][..., 0].mean() - lab[0][..., 0].mean()
    assert float(lightness_shift(*batches)) == pytest.approx(abs(shift), abs=1e-5)


def test_the_special_cases_of_sharma() -> None:
    table = torch.tensor(SHARMA, dtype=torch.float64)
    first, second = tuple(table[:, :3].unbind(1)), tuple(table[:, 3:6].unbind(1))
    np.testing.assert_allclose(_ciede2000(first, second), table[:, 6], atol=1e-4)
    np.testing.assert_allclose(_ciede2000(second, first), table[:, 6], atol=1e-4)


def test_equal_images_black_and_white_and_batches() -> None:
    pairs = photograph_pairs()[:3]
    first, second = (torch.stack([tensor(pair[i]) for pair in pairs]) for i in (0, 1))
    assert delta_e(first, first).tolist() == [0, 0, 0]
    assert lightness_shift(first, first).tolist() == [0, 0, 0]
    black, white = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    assert float(delta_e(black, white)) == pytest.approx(100, abs=1e-3)
    assert float(lightness_shift(white, black)) == pytest.approx(100, abs=1e-3)
    for function in (delta_e, lightness_shift):
        together = function(first, second)
        apart = [float(function(first[i : i + 1], second[i : i + 1])) for i in range(3)]
        assert together.tolist() == apart
        assert together.dtype == torch.float64
