"""Intervals of distances between sets of images, such as rFID and KID, by the delete-group jackknife.

The images are dealt into `GROUPS` groups, and the distance is computed anew without each of them. How much it moves
says how much it would differ for other images of the same kind (Shao and Tu 1995, "The Jackknife and Bootstrap",
section 2.3; for groups of unequal size Busing, Meijer and van der Leeden 1999). An image's group follows from the
images' names alone, so any number of workers and parts gives the same groups, and two tokenizers have the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lactok.metrics.grouped import Grouping, LeaveOut
from lactok.metrics.registry import DistanceMetric

GROUPS = 20
FEWEST = 2 * GROUPS  # images, below which groups would be of one image or none
RECOMPUTED = 2000  # rows of features; of more, a distance that has no function `leaving_out` gets no interval


@dataclass(frozen=True)
class Resampled:
    """A distance without each of the groups.

    Attributes:
        sizes: the number of images in each group.
        without: the distance without each group; empty where there is none.
        infinity: the distance extrapolated to infinitely many images, None where it was not computed.
        reason: why there are no values, "" where there are.
    """

    sizes: tuple[int, ...] = ()
    without: tuple[float, ...] = ()
    infinity: float | None = None
    reason: str = ""

    def standard_error(self, value: float) -> float:
        """Return the jackknife's standard error of the distance, whose value for all images is `value`.

        It is the spread of pseudo-values; a bias of the distance that is inversely proportional to the number of
        images, as FID's is, cancels in them, also for groups of unequal size.
        """
        sizes = np.asarray(self.sizes, np.float64)
        shares = sizes.sum() / sizes  # h in Busing et al.
        pseudo = shares * value - (shares - 1) * np.asarray(self.without)
        return float(np.sqrt(((pseudo - pseudo.mean()) ** 2 / (shares - 1)).mean()))

    def interval(self, value: float) -> list[float]:
        """Return the 95 % interval around `value`, by Student's t with one degree of freedom less than groups."""
        from scipy.stats import t as student

        half = float(student.ppf(0.975, len(self.sizes) - 1)) * self.standard_error(value)
        return [value - half, value + half]

    def entry(self, value: float) -> dict[str, Any]:
        """Return the part of a distance's entry in a result: its interval and what comparisons need of the groups."""
        if self.reason:
            return {"ci95_reason": self.reason}
        entry: dict[str, Any] = {"ci95": self.interval(value)}
        if self.infinity is not None:
            entry["infinity"] = self.infinity
        return entry | {"groups": {"sizes": list(self.sizes), "without": list(self.without)}}


def group_numbers(names: Sequence[str], count: int = GROUPS) -> np.ndarray:
    """Return the number of each image's group, (n,) int64: images are dealt to groups in the order of a hash.

    Args:
        names: the ids of the images; images of the same name, such as those of one caption, come into the same group.
        count: the number of groups.

    >>> group_numbers(["a", "b", "a", "c"], 2).tolist()
    [0, 1, 0, 0]
    """
    order = sorted(set(names), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    numbers = {name: place % count for place, name in enumerate(order)}
    return np.array([numbers[name] for name in names], np.int64)


def resample(
    metric: DistanceMetric,
    references: Any,
    outputs: Sequence[np.ndarray],
    names: Sequence[str],
    paired: bool,
    value: Callable[[], float],
    rows: np.ndarray | None = None,
) -> tuple[float, Resampled]:
    """Compute a distance for all images and without each group.

    Args:
        metric: the distance.
        references: what the metric's function takes of the references.
        outputs: features of the images, as blocks of rows.
        names: the ids of the images, in the order of the rows.
        paired: whether the references are the originals of the images, in the same order, and are left out with them;
            otherwise they stay as they are.
        value: computes the distance for all images, where that is all that is needed.
        rows: how many rows each image has, such as one for each of its patches; None if each has one.

    Returns:
        The distance, and its values without each group or the reason why there are none.
    """
    different = len(set(names))
    if different < FEWEST:
        reason = f"an interval needs {FEWEST} images or more"
        if different < len(names):
            reason = f"an interval needs {FEWEST} different captions or more, these images have {different}"
        return value(), Resampled(reason=reason)
    numbers = group_numbers(names)
    of_rows = numbers if rows is None else np.repeat(numbers, rows)
    if sum(len(block) for block in outputs) != len(of_rows):
        return value(), Resampled(reason="its features do not belong to single images")
    grouping = Grouping(GROUPS, of_rows, of_rows if paired else None)
    if metric.leaving_out is not None:
        found = metric.leaving_out(references, outputs, grouping)
    elif len(of_rows) <= RECOMPUTED:
        found = _recomputed(metric, references, outputs, grouping, value())
    else:
        return value(), Resampled(
            reason=f"{metric.title} of {len(names)} images would have to be computed {GROUPS} times"
        )
    if not np.isfinite(found.without).all():
        return found.value, Resampled(reason="without one of the groups of images its value is not finite")
    sizes = np.bincount(numbers, minlength=GROUPS)
    without = tuple(float(each) for each in found.without)
    return found.value, Resampled(tuple(int(size) for size in sizes), without, found.infinity)


def _recomputed(
    metric: DistanceMetric, references: Any, outputs: Sequence[np.ndarray], grouping: Grouping, value: float
) -> LeaveOut:
    """Compute a distance without each group by its function for whole sets."""
    without = np.zeros(grouping.count)
    for group in range(grouping.count):
        kept = references
        if grouping.references is not None:
            kept = _Without(references, grouping.references != group)
        without[group] = metric.compute(kept, _Without(outputs, grouping.outputs != group))
    return LeaveOut(value, without)


class _Without(Sequence[np.ndarray]):
    """The rows of some blocks that are kept, read block by block, so that memory holds one block at a time.

    Args:
        blocks: the blocks.
        kept: whether each of their rows is kept.
    """

    def __init__(self, blocks: Sequence[np.ndarray], kept: np.ndarray):
        self.blocks, self.kept = blocks, kept
        self.starts = np.cumsum([0, *(len(block) for block in blocks)])

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self.blocks):
            raise IndexError(index)
        return self.blocks[index][self.kept[self.starts[index] : self.starts[index + 1]]]
