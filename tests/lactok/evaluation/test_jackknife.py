"""Intervals of means and of distances against simulations with a known truth, comparisons, corrected p-values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import lactok
from lactok.evaluation import jackknife
from lactok.evaluation.jackknife import FEWEST, GROUPS, Resampled, group_numbers
from lactok.evaluation.statistics import holm, mean_with_interval, paired_difference, smallest_difference
from lactok.metrics.registry import METRICS, DistanceMetric, Features, find, metric

SIMULATIONS = 1000
VALUES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("n", [30, 50, 100, 500])
def test_intervals_of_means_cover_the_truth(kind: str, n: int) -> None:
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(SIMULATIONS):
        low, high = mean_with_interval(VALUES[kind](rng, n))[1]  # type: ignore[misc]
        covered += low <= 0 <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_an_interval_is_that_of_so_many_captions() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(SIMULATIONS):
        sizes = rng.integers(1, 4, 60)
        captions = np.repeat(np.arange(60), sizes)
        values = rng.normal(size=60)[captions] + rng.normal(size=len(captions))
        low, high = mean_with_interval(values, captions.astype(str).tolist())[1]  # type: ignore[misc]
        covered += low <= 0 <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_an_interval_does_not_depend_on_the_unit(scale: float) -> None:
    values = np.random.default_rng(0).exponential(size=40)
    plain, scaled = mean_with_interval(values)[1], mean_with_interval(values * scale)[1]
    assert scaled == pytest.approx([bound * scale for bound in plain or []])


def test_an_interval_of_shares_ends_at_one() -> None:
    assert mean_with_interval(np.array([1.0, 1.0, 0.0]))[1] == [0.0, 1.0]
    assert mean_with_interval(np.array([2.0, 3.0]))[1] == pytest.approx([2.5 - 6.353, 2.5 + 6.353], abs=1e-3)


def test_an_interval_of_differences_may_be_negative() -> None:
    """Prompts of which some got better and none worse do not show that the second is no worse."""
    found = paired_difference(np.zeros(5), np.array([1.0, 0, 1, 0, 0])).ci95
    assert found is not None
    assert found[0] < 0 < found[1]


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        second = rng.normal(size=60)
        size = smallest_difference(second)
        assert size is not None
        found += abs(second.mean() + size) > 2.0010 * second.std(ddof=1) / np.sqrt(60)
    assert 0.75 < found / 400 < 0.85
    assert paired_difference(np.zeros(60), second).detectable == size


def test_groups_follow_from_names_alone_and_are_of_one_size() -> None:
    names = [f"{i:05}" for i in range(103)]
    numbers = dict(zip(names, group_numbers(names), strict=True))
    backwards = dict(zip(names[::-1], group_numbers(names[::-1]), strict=True))
    assert numbers == backwards
    assert set(np.bincount(list(numbers.values()), minlength=GROUPS)) == {5, 6}


def test_a_mean_has_the_interval_of_a_mean() -> None:
    """For a mean the jackknife's variance is that of the means of groups."""
    values = np.random.default_rng(0).normal(size=200)
    numbers = group_numbers([str(i) for i in range(200)])
    without = tuple(float(values[numbers != g].mean()) for g in range(GROUPS))
    found = Resampled((10,) * GROUPS, without).standard_error(float(values.mean()))
    of_groups = [values[numbers == g].mean() for g in range(GROUPS)]
    assert found == pytest.approx(np.std(of_groups, ddof=1) / np.sqrt(GROUPS))


def test_a_bias_of_one_over_n_does_not_widen_an_interval() -> None:
    sizes = (5, 6) * (GROUPS // 2)
    n = sum(sizes)
    without = tuple(3 + 100 / (n - size) for size in sizes)
    assert Resampled(sizes, without).standard_error(3 + 100 / n) == pytest.approx(0, abs=1e-9)


def test_p_values_are_corrected_as_holm_does() -> None:
    assert holm([0.04, 0.01, None, 0.03, 0.9]) == pytest.approx([0.09, 0.04, None, 0.09, 0.9])
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.fixture
def colours() -> Iterator[DistanceMetric]:
    """A distance that has no function of its own for groups."""
    features = Features("colours", lambda images, device: images.float().mean((2, 3)).numpy())

    def distance(references, outputs) -> float:
        a, b = (np.concatenate(list(rows)).astype(float) for rows in (references, outputs))
        return float(np.abs(a.mean(0) - b.mean(0)).sum())

    metric("colours", title="colours", higher=False, features=features)(distance)
    found = find("colours")
    assert isinstance(found, DistanceMetric)
    yield found
    METRICS.registered.pop("colours", None)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(FEWEST):
        Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8)).resize((64, 64)).save(folder / f"{i:03}.png")
    return folder


def test_distances_have_intervals_and_are_compared(colours: DistanceMetric, pictures: Path, tmp_path: Path) -> None:
    asked = {"dataset": str(pictures), "metrics": "psnr,colours", "resolution": 64, "out": tmp_path / "out"}
    first, second = (lactok.evaluate(name, **asked) for name in ("resize-8", "resize-16"))
    for result in (first, second):
        entry = result["colours"]
        assert entry.groups is not None
        assert len(entry.groups.without) == GROUPS
        assert entry.ci95 is not None
        assert sum(entry.ci95) / 2 == pytest.approx(entry.value)
    compared = lactok.compare(first, second)
    line = compared["colours"]
    assert line.difference.value == pytest.approx(second["colours"].value - first["colours"].value)
    assert line.difference.ci95 is not None
    assert line.difference.p is not None
    assert line.p_corrected is not None
    assert line.p_corrected >= line.difference.p
    assert line.difference.detectable is not None
    data = compared.as_data()["metrics"]["colours"]
    assert data["p_corrected"] == line.p_corrected
    stored = json.loads((first.folder / "result.json").read_text())["metrics"]["colours"]
    again = lactok.evaluate("resize-8", **asked, workers=2)
    assert json.loads((again.folder / "result.json").read_text())["metrics"]["colours"] == stored
    assert "of a distance of sets" in first.table()


def test_few_images_have_no_interval_and_say_why(colours: DistanceMetric, pictures: Path, tmp_path: Path) -> None:
    asked = {"dataset": str(pictures), "metrics": "colours", "resolution": 64, "out": tmp_path, "limit": FEWEST - 1}
    result = lactok.evaluate("resize-8", **asked)
    assert result["colours"].ci95 is None
    assert result["colours"].ci95_reason == "an interval needs 40 images or more"
    assert "No interval of colours: an interval needs 40 images or more." in result.table()


def test_many_images_of_few_captions_have_no_interval_and_say_why(colours: DistanceMetric) -> None:
    rows, captions = np.zeros((100, 3)), [f"caption {i % 12}" for i in range(100)]
    _, found = jackknife.resample(colours, [rows], [rows], captions, False, lambda: 0.0)
    assert found.reason == "an interval needs 40 different captions or more, these images have 12"


def test_a_distance_without_a_function_for_groups_is_not_computed_for_hours(
    colours: DistanceMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(FEWEST, 3))
    names = [str(i) for i in range(FEWEST)]
    monkeypatch.setattr(jackknife, "RECOMPUTED", FEWEST - 1)
    _, found = jackknife.resample(colours, [rows], [rows], names, True, lambda: 0.0)
    assert found.reason == "colours of 40 images would have to be computed 20 times"
    _, found = jackknife.resample(colours, [rows[:-1]], [rows[:-1]], names, True, lambda: 0.0)
    assert found.reason == "its features do not belong to single images"


def test_all_rows_of_an_image_are_left_out_together(colours: DistanceMetric) -> None:
    rng = np.random.default_rng(0)
    names, rows = [str(i) for i in range(60)], rng.integers(0, 4, 60)
    a, b = rng.normal(size=(2, rows.sum(), 3))
    value, found = jackknife.resample(colours, [a], [b], names, True, lambda: colours.compute([a], [b]), rows)
    of_images = np.repeat(group_numbers(names), rows)
    anew = [colours.compute([a[of_images != g]], [b[of_images != g]]) for g in range(GROUPS)]
    assert found.without == pytest.approx(anew)
    assert found.sizes == (3,) * GROUPS
    assert value == colours.compute([a], [b])
