"""Images of differing shapes in one shard: those of one shape are computed together, and the results put in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lactok.evaluation.store import Arrays
from lactok.metrics.scorer import batches


def groups(references: Sequence[np.ndarray]) -> list[list[int]]:
    """Return the positions of images (H, W, 3), those of one shape together, in the order of the first of each.

    >>> groups([np.zeros((2, 3, 3)), np.zeros((4, 4, 3)), np.zeros((2, 3, 3))])
    [[0, 2], [1]]
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for position, reference in enumerate(references):
        found.setdefault(reference.shape, []).append(position)
    return list(found.values())


def shaped_batches(references: Sequence[np.ndarray], size: int) -> list[list[int]]:
    """Return the positions of images in batches of one shape, of `size` images at most; see `groups`."""
    return [group[batch] for group in groups(references) for batch in batches(len(group), size)]


def joined(parts: Sequence[tuple[Sequence[int], Mapping[str, np.ndarray]]]) -> Arrays:
    """Return what was computed for each group of images as the arrays of the shard.

    Args:
        parts: the positions of a group, and its arrays by name. An array has a row for each image of the group, except
            for the states of metrics, `key/name`: those of the second group are stored as `key#1/name`, and so on.

    Returns:
        The arrays, rows in the order of the positions; of a single group the arrays themselves. Features with several
        rows an image, (n, N, D), get the largest N; rows of nan fill up the others.
    """
    if len(parts) == 1:
        return dict(parts[0][1])
    found: Arrays = {}
    several: dict[str, dict[int, np.ndarray]] = {}  # of features with several rows an image: place -> (N, D)
    count = sum(len(positions) for positions, _ in parts)
    for number, (positions, arrays) in enumerate(parts):
        for name, array in arrays.items():
            key, slash, rest = name.partition("/")
            if slash:
                found[f"{key}#{number}/{rest}" if number else name] = array
                continue
            if array.ndim == 3:  # an image of another shape has other numbers of rows
                several.setdefault(name, {}).update(zip(positions, array, strict=True))
                continue
            whole = found.setdefault(name, np.empty((count, *array.shape[1:]), array.dtype))
            whole[list(positions)] = array
    return found | {name: _filled_up([rows[i] for i in range(count)]) for name, rows in several.items()}


def _filled_up(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of n images, each (N_i, D) floats, as one array (n, N, D) that rows of nan fill up."""
    most = max(len(array) for array in rows)
    out = np.full((len(rows), most, rows[0].shape[1]), np.nan, rows[0].dtype)
    for whole, array in zip(out, rows, strict=True):
        whole[: len(array)] = array
    return out


def states(arrays: Mapping[str, np.ndarray], metric: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the states of a metric in a shard, one for each group of images: the arrays by name.

    Args:
        arrays: the stored arrays of the shard, see `joined`.
        metric: the metric's key.
    """
    number = 0
    while True:
        heads = (f"{metric}#{number}/",) if number else (f"{metric}/", f"{metric}:")
        state = {name[len(head) :]: array for head in heads for name, array in arrays.items() if name.startswith(head)}
        if not state and number:
            return
        yield state
        number += 1
