"""Precision and recall without each of some groups of images, exactly and with every distance computed twice.

Leaving a group out of a set moves the third nearest neighbour of the others, so each point of the set has a radius for
each group. Few points lie within any of them, and only those are looked at for each group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lactok.metrics.grouped import LeaveOut
from lactok.metrics.precision_recall import NEIGHBOUR, in_pieces, squared_distances

Blocks = Sequence[np.ndarray]
TOGETHER = 128  # points that are looked at together, since all of a block may lie within all radii: 100 MiB
OUTSIDE = -1.0  # the radius of a point that is left out: it covers nothing


def covered_leaving_out(
    points: Blocks, by: Blocks, groups: np.ndarray | None, groups_by: np.ndarray | None, count: int
) -> LeaveOut:
    """Compute the share of points that a set covers, see `lactok.metrics.precision_recall.covered`.

    Args:
        points: features, as blocks (n, d) that can be iterated over more than once.
        by: features of the set, likewise.
        groups: the group of each point, None if all stay.
        groups_by: the group of each of the set, None if all stay.
        count: the number of groups.
    """
    radii = _radii(by, groups_by, count)
    if len(radii) <= NEIGHBOUR:
        return LeaveOut(float("nan"), np.full(count, np.nan))
    largest = radii.max(1)
    inside = []
    for rows in in_pieces(points):
        hit = np.zeros((len(rows), radii.shape[1]), bool)
        start = 0
        for others in in_pieces(by):
            distances = squared_distances(rows, others)
            for top in range(0, len(rows), TOGETHER):
                few = distances[top : top + TOGETHER]
                row, column = np.nonzero(few <= largest[start : start + len(others)])
                if len(row):
                    within = few[row, column][:, None] <= radii[start + column]
                    found, first = np.unique(row, return_index=True)  # the rows come in order
                    hit[top + found] |= np.logical_or.reduceat(within, first)
            start += len(others)
        inside.append(hit)
    hits = np.concatenate(inside)
    without = np.zeros(count)
    for group in range(count):
        column = hits[:, 1 + group] if groups_by is not None else hits[:, 0]
        without[group] = column.mean() if groups is None else column[groups != group].mean()
    return LeaveOut(int(hits[:, 0].sum()) / len(hits), without)


def _radii(by: Blocks, groups: np.ndarray | None, count: int) -> np.ndarray:
    """Return the squared radii of the points of a set, (n, 1): of the whole set, and (n, 1 + count) without each group.

    Args:
        by: the set.
        groups: the group of each point, None if none is left out.
        count: the number of groups.
    """
    nearest = NEIGHBOUR + 1  # a point is its own nearest neighbour
    parts = np.zeros(sum(len(block) for block in by), np.int64) if groups is None else groups
    number = 1 if groups is None else count
    found, at = [], 0
    for rows in in_pieces(by):
        best = np.full((len(rows), number, nearest), np.inf)  # the smallest distances to each group
        start = 0
        for others in in_pieces(by):
            distances = squared_distances(rows, others)
            of = parts[start : start + len(others)]
            for part in range(number):
                pool = np.concatenate([best[:, part], distances[:, of == part]], 1)
                best[:, part] = np.partition(pool, nearest - 1, axis=1)[:, :nearest]
            start += len(others)
        radii = np.empty((len(rows), 1 if groups is None else 1 + count))
        radii[:, 0] = np.partition(best.reshape(len(rows), -1), nearest - 1, axis=1)[:, nearest - 1]
        if groups is not None:
            for part in range(count):
                others = np.delete(best, part, axis=1).reshape(len(rows), -1)
                radii[:, 1 + part] = np.partition(others, nearest - 1, axis=1)[:, nearest - 1]
                radii[parts[at : at + len(rows)] == part, 1 + part] = OUTSIDE
        found.append(radii)
        at += len(rows)
    return np.concatenate(found)
