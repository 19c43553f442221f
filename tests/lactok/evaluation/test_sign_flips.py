"""Flipping the signs of many pairs gives the p-value that scipy gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test

from lactok.evaluation.sign_flips import null_means, two_sided_p
from lactok.evaluation.statistics import MANY, paired_difference


@pytest.mark.parametrize("kind", ["normal", "thirds", "zeros and ones"])
@pytest.mark.parametrize(("count", "batch"), [(40, 1999), (40, 7), (1500, 300)])
def test_flips_are_scipys(kind: str, count: int, batch: int) -> None:
    """Also where many means are equal, as those of shares of right pictures."""
    rng = np.random.default_rng(count)
    values = {
        "normal": rng.normal(0.05, 1, count),
        "thirds": rng.integers(-3, 4, count) / 3,
        "zeros and ones": rng.integers(-1, 2, count).astype(float),
    }[kind]
    expected = permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=1999,
        batch=batch,
        rng=np.random.default_rng(0),
    )
    np.testing.assert_allclose(null_means(values, 1999, batch), expected.null_distribution, rtol=0, atol=1e-15)
    assert two_sided_p(values, 1999, batch) == expected.pvalue


def test_many_pairs_have_the_p_value_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=MANY)
    second = first + rng.normal(0.02, 0.3, MANY)
    expected = permutation_test(
        (second - first,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=1999,
        batch=4_000_000 // MANY,
        rng=np.random.default_rng(0),
    )
    assert paired_difference(first, second).p == expected.pvalue
