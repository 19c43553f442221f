"""Distances of sets without each group of images, against computing them anew, and extrapolated ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lactok.metrics import frechet as frechet_module
from lactok.metrics import grouped
from lactok.metrics.cmmd import cmmd, cmmd_leaving_out
from lactok.metrics.frechet import Gaussian, frechet
from lactok.metrics.grouped import Grouping, frechet_leaving_out
from lactok.metrics.inception_score import score, score_leaving_out
from lactok.metrics.kid import kid, kid_leaving_out
from lactok.metrics.precision_recall import precision, precision_leaving_out, recall, recall_leaving_out

COUNT = 20


def samples(n: int, d: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 0.3).astype(np.float32)


def blocks(rows: np.ndarray, pieces: int = 3) -> list[np.ndarray]:
    return np.array_split(rows, pieces)


def groups(n: int) -> np.ndarray:
    return np.random.default_rng(7).permutation(np.arange(n) % COUNT)


@pytest.mark.parametrize(("n", "d"), [(90, 12), (60, 100), (203, 12)])
@pytest.mark.parametrize(
    ("whole", "leaving_out"),
    [(frechet, frechet_leaving_out), (kid, kid_leaving_out), (cmmd, cmmd_leaving_out)],
    ids=["frechet", "kid", "cmmd"],
)
def test_pairs_without_each_group_are_as_computed_anew(
    n: int, d: int, whole: Callable[..., float], leaving_out: Callable[..., grouped.LeaveOut]
) -> None:
    a, b, of = samples(n, d, 1), samples(n, d, 2), groups(n)
    found = leaving_out(blocks(a), blocks(b, 4), Grouping(COUNT, of, of))
    assert found.value == whole(blocks(a), blocks(b, 4))
    anew = [whole([a[of != g]], [b[of != g]]) for g in range(COUNT)]
    np.testing.assert_allclose(found.without, anew, rtol=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(90, 50, 12), (60, 70, 100), (60, 400, 100)])
@pytest.mark.parametrize(
    ("whole", "leaving_out"),
    [(frechet, frechet_leaving_out), (kid, kid_leaving_out), (cmmd, cmmd_leaving_out)],
    ids=["frechet", "kid", "cmmd"],
)
def test_references_of_other_images_stay_as_they_are(
    n: int, m: int, d: int, whole: Callable[..., float], leaving_out: Callable[..., grouped.LeaveOut]
) -> None:
    a, b, of = samples(m, d, 1), samples(n, d, 2), groups(n)
    found = leaving_out(blocks(a), blocks(b), Grouping(COUNT, of, None))
    assert found.value == whole(blocks(a), blocks(b))
    anew = [whole([a], [b[of != g]]) for g in range(COUNT)]
    np.testing.assert_allclose(found.without, anew, rtol=1e-6)


@pytest.mark.parametrize("n", [60, 300])
def test_the_reference_may_be_statistics(n: int) -> None:
    b, of = samples(n, 100, 2), groups(n)
    fixed = Gaussian(np.zeros(100), np.diag(np.linspace(0.5, 2, 100)))
    found = frechet_leaving_out(fixed, blocks(b), Grouping(COUNT, of, None))
    anew = [frechet(fixed, [b[of != g]]) for g in range(COUNT)]
    np.testing.assert_allclose(found.without, anew, rtol=1e-6)


@pytest.mark.parametrize("n", [90, 60])
def test_so_many_distances_are_computed(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all images, one for each group, and six for the extrapolation, whatever the number of images."""
    calls = []

    def counted(*arguments: object) -> float:
        calls.append(arguments)
        return between(*arguments)  # type: ignore[arg-type]

    between = frechet_module.between_gaussians
    for module in (frechet_module, grouped):
        monkeypatch.setattr(module, "between_gaussians", counted)
    of = groups(n)
    found = frechet_leaving_out(blocks(samples(n)), blocks(samples(n, seed=2)), Grouping(COUNT, of, of))
    assert found.infinity is not None
    assert len(calls) == 1 + COUNT + 6


def test_the_kernel_of_cmmd_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lactok.metrics import cmmd as module

    passes: list[object] = []
    monkeypatch.setattr(module, "_kernels", lambda *sides, given=module._kernels: passes.append(1) or given(*sides))
    cmmd_leaving_out([samples(60)], [samples(60)], Grouping(COUNT, groups(60), groups(60)))
    assert len(passes) == 3


def test_the_extrapolation_is_nearer_to_the_truth_than_the_distance() -> None:
    """Two sets of the same distribution have the distance 0, and that of finite sets is larger."""
    rng = np.random.default_rng(0)
    plain, extrapolated = [], []
    for _ in range(20):
        a, b, of = rng.normal(size=(400, 16)), rng.normal(size=(400, 16)), groups(400)
        found = frechet_leaving_out([a], [b], Grouping(COUNT, of, of))
        assert found.infinity is not None
        plain.append(found.value)
        extrapolated.append(found.infinity)
    error = np.std(extrapolated) / np.sqrt(20)
    assert np.mean(plain) > 0.2
    assert abs(np.mean(extrapolated)) < 4 * error + 0.05 * np.mean(plain)
    assert abs(np.mean(extrapolated)) < np.mean(plain) / 10


@pytest.mark.parametrize("are_left_out", [True, False], ids=["with references", "outputs alone"])
@pytest.mark.parametrize("d", [12, 200], ids=["many", "few"])
def test_a_group_may_have_no_rows(d: int, are_left_out: bool) -> None:
    """Images that are smaller than a patch have none, and may be all that a group has."""
    of = np.arange(57) % (COUNT - 1)
    a, b = samples(57, d, 1), samples(57, d, 2)
    found = frechet_leaving_out(blocks(a), blocks(b), Grouping(COUNT, of, of if are_left_out else None))
    assert found.without[COUNT - 1] == pytest.approx(found.value, rel=1e-6)
    assert np.isfinite(found.without).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_rows_have_no_distances_without_groups(n: int) -> None:
    of, rows = np.arange(n), samples(2)[:n]
    found = frechet_leaving_out([rows], [rows + 1], Grouping(COUNT, of, of))
    assert np.isnan(found.without).all()


def test_few_images_are_not_extrapolated() -> None:
    of = groups(60)
    assert frechet_leaving_out([samples(60, 40)], [samples(60, 40, 2)], Grouping(COUNT, of, of)).infinity is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("whole", "leaving_out"),
    [(precision, precision_leaving_out), (recall, recall_leaving_out)],
    ids=["precision", "recall"],
)
def test_neighbours_without_each_group_are_as_computed_anew(
    paired: bool,
    whole: Callable[..., float],
    leaving_out: Callable[..., grouped.LeaveOut],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lactok.metrics.precision_recall.ROWS", 37)
    rng = np.random.default_rng(4)
    a, b, of = rng.normal(size=(160, 3)), rng.normal(size=(160, 3)) * 0.8 + 0.5, groups(160)
    found = leaving_out(blocks(a), blocks(b, 4), Grouping(COUNT, of, of if paired else None))
    assert found.value == whole(blocks(a), blocks(b, 4))
    assert 0.1 < found.value < 1
    anew = [whole([a[of != g] if paired else a], [b[of != g]]) for g in range(COUNT)]
    np.testing.assert_allclose(found.without, anew, rtol=1e-12)


def test_points_that_lie_within_all_radii_take_little_memory() -> None:
    """Features of blurred images lie in the middle of those of photographs, within all of their radii."""
    import tracemalloc

    photographs = np.random.default_rng(0).normal(size=(1000, 64))
    of = groups(1000)
    tracemalloc.start()
    found = precision_leaving_out([photographs], [photographs / 20], Grouping(COUNT, of, of))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.value == 1
    assert most < 100e6


def test_the_inception_score_without_each_group_is_that_of_its_splits() -> None:
    rng = np.random.default_rng(5)
    features, classifier, of = rng.normal(size=(200, 6)), rng.normal(size=(9, 6)), groups(200)
    found = score_leaving_out(blocks(features), classifier, of, COUNT)
    assert found.value == score(blocks(features), classifier)
    alone = np.concatenate([np.zeros(199, int), [1]])  # without the last image alone, all but one split are the same
    assert score_leaving_out([features], classifier, alone, 2).without[1] == pytest.approx(found.value, rel=0.1)
    assert np.abs(found.without - found.value).max() < 0.2 * found.value
