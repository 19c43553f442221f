"""Data sets of known distributions, and how often the intervals that results have cover the true value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lactok.evaluation.jackknife import FEWEST as FEWEST  # the command names it
from lactok.evaluation.jackknife import GROUPS, Resampled, group_numbers
from lactok.evaluation.statistics import detectable, distance_difference, mean_with_interval, paired_difference
from lactok.metrics.grouped import Grouping, LeaveOut, frechet_leaving_out
from lactok.metrics.kid import kid_leaving_out

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

_LOGNORMAL = float(np.sqrt((np.exp(0.25) - 1) * np.exp(0.25)))  # standard deviation of the lognormal one below

# distributions of mean 0 and variance 1
VALUES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t, 5 degrees": lambda rng, shape: rng.standard_t(5, size=shape) / np.sqrt(5 / 3),
    "gamma, skewness 1": lambda rng, shape: (rng.gamma(4, size=shape) - 4) / 2,
    "exponential, skewness 2": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal, skewness 1.75": lambda rng, shape: (rng.lognormal(0, 0.5, shape) - np.exp(1 / 8)) / _LOGNORMAL,
}
FEATURES = {"normal": VALUES["normal"], "skewed": VALUES["exponential, skewness 2"]}
DISTANCES: dict[str, Callable[..., LeaveOut]] = {"rfid": frechet_leaving_out, "kid": kid_leaving_out}
KEPT, NOISE, SHIFT = 0.9, 0.5, 0.1  # a simulated reconstruction is 0.9 of its reference, with noise and a shift
PER_CAPTION = 3
TESTED = 5  # every fifth data set is also tested for a difference, which takes longer than all the rest


def _generator(cell: Mapping[str, Any]) -> np.random.Generator:
    """Return the random numbers of a row, which depend on what decides the row and on nothing else."""
    digest = hashlib.sha256(json.dumps(dict(cell), sort_keys=True).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def means(cell: Mapping[str, Any]) -> dict[str, float | None]:
    """Simulate means of values of single images, of which the true mean is 0.

    Args:
        cell: the row's "distribution", number of "images" and of "simulations".

    Returns:
        The shares of the simulations in which the interval covers the truth (`coverage`), the truth lies `below` or
        `above` it, the interval of images that come three to a caption covers it (`groups`), the test of paired
        differences finds one where there is none (`false_alarms`), and finds one of the smallest detectable size
        (`power`). The last two are of every fifth simulation.
    """
    rng, draw, n = _generator(cell), VALUES[cell["distribution"]], int(cell["images"])
    count = int(cell["simulations"])
    below = above = grouped = alarms = found = 0
    difference = detectable(1 / np.sqrt(n), n - 1)
    captions = [str(i // PER_CAPTION) for i in range(n)]
    for number in range(count):
        values = draw(rng, (n,))
        low, high = _bounds(mean_with_interval(values))
        below += low > 0
        above += high < 0
        # values of one caption resemble each other: half of their variance is common to them
        common = np.repeat(draw(rng, (-(-n // PER_CAPTION),)), PER_CAPTION)[:n]
        low, high = _bounds(mean_with_interval((common + draw(rng, (n,))) / np.sqrt(2), captions))
        grouped += low <= 0 <= high
        if number % TESTED == 0:
            alarms += _is_found(values)
            found += _is_found(values + difference)
    shares = {"coverage": count - below - above, "below": below, "above": above, "groups": grouped}
    tested = -(-count // TESTED)
    tests: dict[str, float | None] = {"false_alarms": alarms / tested, "power": found / tested}
    return tests | {key: value / count for key, value in shares.items()}


def _is_found(differences: np.ndarray) -> bool:
    """Return whether the test of paired differences finds that their mean is not 0."""
    p = paired_difference(np.zeros(len(differences)), differences).p
    return p is not None and p < 0.05


def _bounds(estimate: tuple[float | None, list[float] | None]) -> tuple[float, float]:
    """Return the bounds of an interval that is there."""
    assert estimate[1] is not None, "of two values or more"
    return estimate[1][0], estimate[1][1]


def distances(cell: Mapping[str, Any]) -> dict[str, float | None]:
    """Simulate distances between references and two tokenizers' reconstructions of them, which differ in noise alone.

    Args:
        cell: the row's "metric", "distribution", number of "features", of "images" and of "simulations".

    Returns:
        population: the distance of infinitely many images, None where it is not known; mean: the mean distance;
        infinity: the mean of the extrapolated distances, None where there are none; and shares of the simulations:
        the interval covers the mean distance (`coverage`) and that of infinitely many images (`covers_population`), the
        interval of the difference of the two tokenizers covers 0 (`difference`), and p is below 0.05
        (`false_alarms`).
    """
    rng, draw = _generator(cell), FEATURES[cell["distribution"]]
    n, d, count = int(cell["images"]), int(cell["features"]), int(cell["simulations"])
    leaving_out = DISTANCES[cell["metric"]]
    deviations = 1 / np.sqrt(1 + np.arange(d))  # of the features: a few matter most, as in networks
    of = group_numbers([str(i) for i in range(n)])
    values, extrapolated, intervals = [], [], []
    covers = alarms = 0
    for _ in range(count):
        references = draw(rng, (n, d)) * deviations
        pair: list[Resampled] = []
        of_both: list[float] = []
        for _tokenizer in range(2):
            noise = draw(rng, (n, d)) * deviations * NOISE
            found = leaving_out(
                [references], [KEPT * references + noise + SHIFT * deviations], Grouping(GROUPS, of, of)
            )
            sizes = tuple(np.bincount(of, minlength=GROUPS).tolist())
            pair.append(Resampled(sizes, tuple(found.without.tolist()), found.infinity))
            of_both.append(found.value)
        values.append(of_both[0])
        extrapolated.append(pair[0].infinity)
        intervals.append(pair[0].interval(of_both[0]))
        difference = distance_difference(pair[0], pair[1], (of_both[0], of_both[1]), n)
        covers += not difference.is_apart
        alarms += difference.p is not None and difference.p < 0.05
    mean, population = float(np.mean(values)), None
    if cell["metric"] == "rfid":
        # of diagonal covariances; the distance depends on means and covariances alone, for skewed features too
        ratio = np.sqrt(KEPT**2 + NOISE**2)
        population = float((deviations**2).sum() * ((1 - ratio) ** 2 + SHIFT**2))

    def covered(truth: float) -> float:
        return float(np.mean([low <= truth <= high for low, high in intervals]))

    known = [value for value in extrapolated if value is not None]
    return {
        "population": population,
        "mean": mean,
        "infinity": float(np.mean(known)) if known else None,
        "coverage": covered(mean),
        "covers_population": None if population is None else covered(population),
        "difference": covers / count,
        "false_alarms": alarms / count,
    }
