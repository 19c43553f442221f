"""The Frechet distance without each of some groups of samples, and extrapolated to infinitely many samples.

Nothing is computed twice for a group: moments are those of all samples minus those of the group. For sets of no more
samples than features, products of features take the place of covariances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lactok.metrics.frechet import Gaussian, Moments, between_gaussians, frechet, from_traces

Blocks = Sequence[np.ndarray]
PARTS = 4  # into which the groups are divided: so many times the features are read, and a part's moments are in memory


@dataclass(frozen=True)
class Grouping:
    """Which group each sample belongs to.

    Attributes:
        count: the number of groups.
        outputs: (n,) the group of each row of the outputs.
        references: the group of each row of the references; None if these stay as they are whatever is left out.
    """

    count: int
    outputs: np.ndarray
    references: np.ndarray | None


@dataclass(frozen=True)
class LeaveOut:
    """A distance without each group.

    Attributes:
        value: the distance of all samples, the same as without groups.
        without: (groups,) the distance without each group.
        infinity: the distance extrapolated to infinitely many samples, None where it was not computed.
    """

    value: float
    without: np.ndarray
    infinity: float | None = None


def frechet_leaving_out(references: Blocks | Gaussian, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute the Frechet distance of all samples, without each group, and extrapolated to infinitely many samples.

    That takes one distance for all samples and one for each group. For the extrapolation it takes six more, see
    `_at_infinity`; there is none where half of the samples are not more than the features. Where fewer than two samples
    are left without one of the groups, the distances without each are nan.

    Args:
        references: features of one set as blocks (n, d), or their mean and covariance, which then stay as they are.
        outputs: features of the other set.
        grouping: the groups of their rows.
    """
    value = frechet(references, outputs)
    count, width = len(grouping.outputs), outputs[0].shape[1]
    for of in (grouping.outputs, grouping.references):
        if of is not None and len(of) - np.bincount(of, minlength=1).max() < 2:
            return LeaveOut(value, np.full(grouping.count, np.nan))
    if not isinstance(references, Gaussian) and grouping.references is not None:
        if max(count, len(grouping.references)) <= width:
            return LeaveOut(value, _without_of_few(references, outputs, grouping))
        without, parts = _without_of_many(references, outputs, grouping)
    else:
        fixed = references
        if not isinstance(fixed, Gaussian):
            moments = Moments.of(fixed)
            fixed = Gaussian(moments.mean, moments.covariance)
        if count <= width:
            return LeaveOut(value, _without_of_few_outputs(fixed, outputs, grouping))
        without, parts = _without_of_many(fixed, outputs, grouping)
    sizes = [side.n for part in parts for side in part if isinstance(side, Moments)]
    infinity = _at_infinity(value, parts) if 2 * min(sizes) > width + 1 else None
    return LeaveOut(value, without, infinity)


Pair = tuple[Moments | Gaussian, Moments]  # of the references and of the outputs


def _add(first: Moments, second: Moments, sign: int = 1) -> Moments:
    """Return the moments of two sets together, or with `sign` -1 those of the first without the second."""
    return Moments(first.n + sign * second.n, first.total + sign * second.total, first.outer + sign * second.outer)


def _both(first: Pair, second: Pair, sign: int = 1) -> Pair:
    """Return the same for references and outputs; references that are fixed stay as they are."""
    references, others = first[0], second[0]
    if isinstance(references, Moments) and isinstance(others, Moments):
        references = _add(references, others, sign)
    return references, _add(first[1], second[1], sign)


def _distance(pair: Pair) -> float:
    """Return the Frechet distance between two sets of which the moments are known."""
    sides = [Gaussian(side.mean, side.covariance) if isinstance(side, Moments) else side for side in pair]
    return between_gaussians(sides[0], sides[1])


def _without_of_many(
    references: Blocks | Gaussian, outputs: Blocks, grouping: Grouping
) -> tuple[np.ndarray, list[Pair]]:
    """Return the distance without each group, and the moments of `PARTS` parts of the samples, groups dealt to parts.

    The features are read once for the sum over all samples and once for each part, so that only the moments of one
    part's groups are in memory.
    """
    whole: Pair = (references if isinstance(references, Gaussian) else Moments.of(references), Moments.of(outputs))
    without = np.zeros(grouping.count)
    parts: list[Pair] = []
    for part in range(PARTS):
        members = range(part, grouping.count, PARTS)
        of_outputs = _moments_of_groups(outputs, grouping.outputs, members)
        of_references: Sequence[Moments | Gaussian]
        if isinstance(references, Gaussian):
            of_references = [references] * len(members)
        else:
            assert grouping.references is not None
            of_references = _moments_of_groups(references, grouping.references, members)
        pairs: list[Pair] = list(zip(of_references, of_outputs, strict=True))
        for group, pair in zip(members, pairs, strict=True):
            without[group] = _distance(_both(whole, pair, -1))
        parts.append(reduce(_both, pairs))
    return without, parts


def _moments_of_groups(blocks: Blocks, groups: np.ndarray, members: Sequence[int]) -> list[Moments]:
    """Return the moments of the rows of each of some groups."""
    width = blocks[0].shape[1]
    found = [Moments(0, np.zeros(width), np.zeros((width, width))) for _ in members]
    start = 0
    for block in blocks:
        numbers = groups[start : start + len(block)]
        start += len(block)
        for moments, member in zip(found, members, strict=True):
            x = block[numbers == member].astype(np.float64)
            moments.n += len(x)
            moments.total += x.sum(0)
            moments.outer += x.T @ x
    return found


def _at_infinity(value: float, parts: Sequence[Pair]) -> float:
    """Extrapolate the distance to infinitely many samples (Chong and Forsyth 2020).

    FID's bias is inversely proportional to the number of samples N, so a straight line is fitted to the distances
    over 1 / N, and its value at 0 is taken. The points are the distance of all samples, the mean of those of the four
    sets of three quarters, and the mean of those of two halves; in each mean every sample counts equally often, so
    that chance moves the points together and hardly tilts the line.

    Args:
        value: the distance of all samples.
        parts: the moments of four quarters.
    """
    halves = [_both(parts[0], parts[1]), _both(parts[2], parts[3])]
    whole = _both(halves[0], halves[1])
    three_quarters = [_both(whole, part, -1) for part in parts]
    inverse, distances = [1 / whole[1].n], [value]
    for subsets in (three_quarters, halves):
        inverse.append(float(np.mean([1 / subset[1].n for subset in subsets])))
        distances.append(float(np.mean([_distance(subset) for subset in subsets])))
    return float(np.polynomial.polynomial.polyfit(inverse, distances, 1)[0])


def _without_of_few(references: Blocks, outputs: Blocks, grouping: Grouping) -> np.ndarray:
    """Return the distance without each group, of sets of no more samples than features.

    The trace of the covariances' square root is the sum of the singular values of the product of the centred features,
    as in `frechet`. That product of the samples that are left is part of the product of all. The singular values are
    roots of eigenvalues here, which takes a third of the time: a relative error of 1e-8 is of no matter to an interval.
    """
    assert grouping.references is not None
    a, b = (np.concatenate(list(blocks)).astype(np.float64) for blocks in (references, outputs))
    products = a @ b.T
    first, second = _Sums(a, grouping.references, grouping.count), _Sums(b, grouping.outputs, grouping.count)
    without = np.zeros(grouping.count)
    for group in range(grouping.count):
        left = products[np.ix_(grouping.references != group, grouping.outputs != group)]
        n, mean, trace = first.without(group)
        m, other_mean, other_trace = second.without(group)
        centred = _centred(left)
        roots = np.sqrt(np.linalg.eigvalsh(centred @ centred.T).clip(min=0))
        root = float(roots.sum() / np.sqrt((n - 1) * (m - 1)))
        without[group] = from_traces(mean - other_mean, trace + other_trace, root)
    return without


def _without_of_few_outputs(fixed: Gaussian, outputs: Blocks, grouping: Grouping) -> np.ndarray:
    """Return the distance without each group of outputs, no more than there are features, to fixed statistics.

    With the centred outputs b, the product of the covariances has the eigenvalues of b C b^T / (n - 1).
    """
    b = np.concatenate(list(outputs)).astype(np.float64)
    products = b @ fixed.covariance @ b.T
    sums, trace_of_fixed = _Sums(b, grouping.outputs, grouping.count), float(np.trace(fixed.covariance))
    without = np.zeros(grouping.count)
    for group in range(grouping.count):
        kept = grouping.outputs != group
        n, mean, trace = sums.without(group)
        eigenvalues = np.linalg.eigvalsh(_centred(products[np.ix_(kept, kept)]) / (n - 1))
        root = float(np.sqrt(eigenvalues.clip(min=0)).sum())
        without[group] = from_traces(fixed.mean - mean, trace_of_fixed + trace, root)
    return without


def _centred(products: np.ndarray) -> np.ndarray:
    """Return the products (n, m) of the rows of two sets as they are after each set's mean is subtracted."""
    return products - products.mean(0) - products.mean(1)[:, None] + products.mean()


class _Sums:
    """The sums of the rows (n, d) of each of `count` groups, some of which may have none, and of their squares."""

    def __init__(self, rows: np.ndarray, groups: np.ndarray, count: int):
        self.n = np.bincount(groups, minlength=count)
        self.total = np.stack([rows[groups == group].sum(0) for group in range(count)])
        self.squares = np.bincount(groups, weights=(rows * rows).sum(1), minlength=count)

    def without(self, group: int) -> tuple[int, np.ndarray, float]:
        """Return the number, the mean and the trace of the covariance of all rows but those of a group."""
        n = int(self.n.sum() - self.n[group])
        mean = (self.total.sum(0) - self.total[group]) / n
        squares = float(self.squares.sum() - self.squares[group])
        return n, mean, (squares - n * float(mean @ mean)) / (n - 1)
