"""Distances between sets of images and their intervals, kept in the store so that they are computed once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from lactok.evaluation.jackknife import GROUPS, Resampled, resample
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Arrays, Store
from lactok.metrics.registry import DistanceMetric

VERSION = 1  # raised by hand whenever the groups or the values without them change


def check_value(arrays: Arrays, _names: Collection[str]) -> None:
    """Raise an error unless a stored distance is one number."""
    if arrays["value"].shape or arrays["value"].dtype.kind != "f":
        raise ValueError("no number")


def _check_groups(arrays: Arrays, _names: Collection[str]) -> None:
    """Raise an error unless stored values are those of a distance without each group."""
    shapes = [arrays[name].shape for name in ("sizes", "without", "infinity")]
    if shapes != [(GROUPS,), (GROUPS,), ()] or not np.isfinite(arrays["without"]).all():
        raise ValueError("not the values without groups")


def stored_distance(
    store: Store,
    key: str,
    metric: DistanceMetric,
    references: Any,
    outputs: Sequence[np.ndarray],
    names: Sequence[str],
    paired: bool,
    rows: np.ndarray | None = None,
) -> tuple[float, Resampled]:
    """Return a distance and its values without each group of images, out of the store or computed and stored.

    Args:
        store: the store.
        key: the hash of all that decides the distance's value.
        metric, references, outputs, names, paired, rows: as for `resample`.
    """
    known = store.get("distances", key, check=check_value)
    of_groups = digest([key, VERSION, GROUPS, paired, digest(list(names))])
    groups = store.get("distances", of_groups, check=_check_groups)
    if known is not None and groups is not None:
        infinity = float(groups["infinity"])
        sizes, without = groups["sizes"].tolist(), groups["without"].tolist()
        return float(known["value"]), Resampled(tuple(sizes), tuple(without), None if np.isnan(infinity) else infinity)

    def value() -> float:
        return metric.compute(references, outputs) if known is None else float(known["value"])

    found, resampled = resample(metric, references, outputs, names, paired, value, rows)
    if known is None:
        store.put("distances", key, {"value": np.array(found)})
    if not resampled.reason:
        arrays = {
            "sizes": np.array(resampled.sizes, np.int64),
            "without": np.array(resampled.without),
            "infinity": np.array(np.nan if resampled.infinity is None else resampled.infinity),
        }
        store.put("distances", of_groups, arrays)
    return (found if known is None else float(known["value"])), resampled
