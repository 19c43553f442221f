"""Quality against bits: how many bits a codec needs for what a tokenizer reaches, and the BD-rate of two curves."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np

from lactok.errors import WrongValue
from lactok.evaluation.results import ReconResult

FEWEST_FOR_BD = 4  # points of a curve; the interpolations of BD-rates are of that many and more
FEWEST = 2  # points between which a codec's bits are interpolated
RATE_OPTIONS = ("tokens", "bits")  # options of tokenizers and codecs that set the rate


@dataclass(frozen=True)
class Curve:
    """Quality against bits of one method at several rates.

    Attributes:
        name: the method.
        bits: (n,) bits for each image, rising.
        quality: (n,) the values of a metric, with the sign that makes higher ones better, and so rising.
    """

    name: str
    bits: tuple[float, ...]
    quality: tuple[float, ...]


def curve(name: str, points: Iterable[tuple[float, float]], higher: bool, title: str = "quality") -> Curve:
    """Return the curve of a method.

    Args:
        name: the method.
        points: (bits, value of the metric) at each rate, in any order.
        higher: whether higher values of the metric are better.
        title: the metric's title, for the message.

    Raises:
        WrongValue: the values do not get better with more bits, so that no bits belong to a value.

    >>> curve("jpeg", [(2000, 0.4), (1000, 0.5)], higher=False).quality
    (-0.5, -0.4)
    """
    ordered = sorted(set(points))
    for (bits, value), (more, next_value) in pairwise(ordered):
        better = next_value > value if higher else next_value < value
        if more == bits or not better:
            raise WrongValue(
                f"{title} of {name} does not get better from {bits:.0f} bits to {more:.0f} ({value:.4g}, then "
                f"{next_value:.4g})"
            )
    sign = 1 if higher else -1
    return Curve(name, tuple(float(bits) for bits, _ in ordered), tuple(float(sign * value) for _, value in ordered))


def equal_quality_bits(codec: Curve, value: float, higher: bool, title: str = "quality") -> float:
    """Return the bits that a codec needs to reach a value of the metric.

    The logarithm of the bits is interpolated over the metric's value, by monotone cubic pieces (PCHIP).

    Raises:
        WrongValue: the codec was measured at fewer than two rates, or the value lies outside what it reached.
    """
    from scipy.interpolate import PchipInterpolator

    if len(codec.bits) < FEWEST:
        raise WrongValue(f"{codec.name} was measured at {len(codec.bits)} rate; two or more are needed")
    quality = value if higher else -value
    if quality < codec.quality[0]:
        raise WrongValue(f"{codec.name} is better at its lowest rate, {codec.bits[0]:.0f} bits")
    if quality > codec.quality[-1]:
        raise WrongValue(f"{codec.name} does not reach it at its highest rate, {codec.bits[-1]:.0f} bits")
    return float(np.exp(PchipInterpolator(codec.quality, np.log(codec.bits))(quality)))


def bd_rate(test: Curve, anchor: Curve, title: str = "quality") -> float:
    """Return the BD-rate in percent: how many more bits `test` takes than `anchor` for the same quality, on average.

    The average is of the logarithm of the bits over the qualities that both reach (Bjontegaard, VCEG-M33, 2001), with
    Akima's interpolation, as the package `bjontegaard` computes it. Negative values mean fewer bits.

    Raises:
        WrongValue: a curve has fewer than four points, or they reach no quality in common.
        MissingPackage: `bjontegaard` is not installed.
    """
    for one in (test, anchor):
        if len(one.bits) < FEWEST_FOR_BD:
            raise WrongValue(f"{one.name} has {len(one.bits)} of the {FEWEST_FOR_BD} rates that a BD-rate needs")
    low, high = max(test.quality[0], anchor.quality[0]), min(test.quality[-1], anchor.quality[-1])
    if low >= high:
        raise WrongValue(f"{test.name} and {anchor.name} reach no {title} in common")
    from lactok.extras import extras_named

    with extras_named(what="a BD-rate"):
        import bjontegaard
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small overlap, which `overlap` tells
        rate = bjontegaard.bd_rate(
            anchor.bits, anchor.quality, test.bits, test.quality, "akima", require_matching_points=False
        )
    if not isfinite(rate):
        raise WrongValue(f"the BD-rate of {test.name} to {anchor.name} is not finite")
    return float(rate)


def overlap(test: Curve, anchor: Curve) -> float:
    """Return which share of the qualities that either curve reaches both reach."""
    low, high = max(test.quality[0], anchor.quality[0]), min(test.quality[-1], anchor.quality[-1])
    least, most = min(test.quality[0], anchor.quality[0]), max(test.quality[-1], anchor.quality[-1])
    return max(0.0, high - low) / (most - least) if most > least else 0.0


def curve_name(run: ReconResult) -> str:
    """Return the name that the runs of one method at several rates share: its name without the option of the rate.

    The dtype and the seed are added where they are not the usual ones.
    """
    options = {k: v for k, v in run.data.tokenizer.options.items() if k not in RATE_OPTIONS}
    name = run.label.partition("@")[0]
    if options:
        name += "@" + ",".join(f"{k}={v}" for k, v in sorted(options.items()))
    dtype = f" {run.dtype}" if run.dtype != "float32" else ""
    return name + dtype + (f" seed {run.seed}" if run.seed else "")


def is_codec(run: ReconResult) -> bool:
    """Return whether a run is of an image codec with a budget of bits."""
    return run.data.tokenizer.tokens is None and "bits" in run.data.tokenizer.options


def points(runs: Sequence[ReconResult], metric: str) -> list[tuple[float, float]]:
    """Return (bits for each image, value) of the runs that have both."""
    found = []
    for run in runs:
        entry, bits = run.metrics.get(metric), run.data.tokenizer.bits
        if entry is not None and entry.value is not None and bits is not None and bits > 0:
            found.append((float(bits), float(entry.value)))
    return found
