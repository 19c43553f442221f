"""Precision and recall of a set of images (Kynkaanniemi et al. 2019), by the features of FID's Inception.

A point is covered by a set if it lies no farther from one of the set's points than that point's third nearest
neighbour in the set. Precision is the share of outputs that the references cover, recall the share of references that
the outputs cover. ADM's evaluator computes both by these features too; the paper itself took those of VGG-16.

Distances are computed block by block in float64, so that 50,000 images against 50,000 take little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lactok.metrics.grouped import Grouping, LeaveOut
from lactok.metrics.inception_features import INCEPTION_TF1
from lactok.metrics.registry import metric

Blocks = Sequence[np.ndarray]
NEIGHBOUR = 3  # whose distance is the radius of a point
ROWS = 4096  # points on each side of a block of distances: 128 MiB
COMPARABLE_FROM = 10_000  # images: as many as ADM's reference files hold


def covered(points: Blocks, by: Blocks, neighbour: int = NEIGHBOUR) -> float:
    """Return the share of points that a set covers.

    Args:
        points: features, as blocks (n, d) that can be iterated over more than once.
        by: features of the set, likewise.
        neighbour: which nearest neighbour in the set gives a point's radius; the point itself does not count.

    Returns:
        The share, from 0 to 1; nan if there are no points, or no more points in the set than `neighbour`.
    """
    count, of_set = (sum(len(block) for block in blocks) for blocks in (points, by))
    if not count or of_set <= neighbour:
        return float("nan")
    radii = np.concatenate([_nearest(rows, by, neighbour + 1)[:, -1] for rows in in_pieces(by)])
    inside = 0
    for rows in in_pieces(points):
        hit = np.zeros(len(rows), bool)
        start = 0
        for others in in_pieces(by):
            hit |= (squared_distances(rows, others) <= radii[start : start + len(others)]).any(1)
            start += len(others)
        inside += int(hit.sum())
    return inside / count


def in_pieces(blocks: Blocks) -> Iterator[np.ndarray]:
    """Yield the rows of all blocks in pieces of at most `ROWS`, as float64."""
    for block in blocks:
        for start in range(0, len(block), ROWS):
            yield block[start : start + ROWS].astype(np.float64)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances (n, m) of rows (n, d) and (m, d); those that rounding made negative are 0."""
    found = a @ b.T
    found *= -2
    found += (a * a).sum(1)[:, None]
    found += (b * b).sum(1)
    return np.maximum(found, 0, out=found)


def _nearest(rows: np.ndarray, others: Blocks, count: int) -> np.ndarray:
    """Return the `count` smallest squared distances (n, count) of n rows to those of a set, in rising order.

    The set has at least `count` rows.
    """
    best = np.zeros((len(rows), 0))
    for piece in in_pieces(others):
        best = np.concatenate([best, squared_distances(rows, piece)], 1)
        if best.shape[1] > count:
            best = np.partition(best, count - 1, axis=1)[:, :count]
    return np.sort(best, axis=1)


def precision_leaving_out(references: Blocks, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute the share of outputs that the references cover, of all images and without each group."""
    from lactok.metrics.grouped_neighbours import covered_leaving_out

    return covered_leaving_out(outputs, references, grouping.outputs, grouping.references, grouping.count)


def recall_leaving_out(references: Blocks, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute the share of references that the outputs cover, of all images and without each group."""
    from lactok.metrics.grouped_neighbours import covered_leaving_out

    return covered_leaving_out(references, outputs, grouping.references, grouping.outputs, grouping.count)


@metric(
    "precision",
    title="precision",
    higher=True,
    digits=3,
    reliable_from=COMPARABLE_FROM,
    fewest=NEIGHBOUR + 1,
    features=INCEPTION_TF1,
    leaving_out=precision_leaving_out,
)
def precision(references: Blocks, outputs: Blocks) -> float:
    """Return the share of outputs that the references cover: how many look like photographs."""
    return covered(outputs, references)


@metric(
    "recall",
    title="recall",
    higher=True,
    digits=3,
    reliable_from=COMPARABLE_FROM,
    fewest=NEIGHBOUR + 1,
    features=INCEPTION_TF1,
    leaving_out=recall_leaving_out,
)
def recall(references: Blocks, outputs: Blocks) -> float:
    """Return the share of references that the outputs cover: how much of the photographs' variety there is."""
    return covered(references, outputs)
