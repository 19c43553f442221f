"""The best and the worst samples of a run, whose pictures are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lactok.evaluation.error_profile import WORST
from lactok.metrics.registry import find

EXTREMES = 3  # number of best samples whose pictures are kept, and of worst ones
RANKED_BY = ("lpips_alex", "lpips_vgg", "psnr")  # best and worst are told by the first of these that was measured


def ranked_by(metrics: Collection[str]) -> str | None:
    """Return the key of the metric by which samples are the best and the worst; None where none of these is there."""
    return next((metric for metric in RANKED_BY if metric in metrics), None)


class Ranked:
    """The best and the worst samples of those that were added so far; memory holds these alone.

    A sample that is among the best of all is among the best of any part of them. So where shards are scored one after
    the other, and each keeps the pictures of samples that are the best or the worst so far, those of the final ones
    are kept, and few others: of 50,000 samples about 60, where the extremes of every shard would be 5,000.

    Args:
        metrics: the keys of the run's metrics.
    """

    def __init__(self, metrics: Sequence[str]):
        # the name of an array of scores -> the factor that makes lower values better
        self._signs = dict.fromkeys(WORST.values(), 1.0)
        self._by = ranked_by(metrics)
        if self._by is not None:
            self._signs[self._by] = -1.0 if find(self._by).higher else 1.0
        self._so_far: dict[str, list[tuple[float, str]]] = {name: [] for name in self._signs}

    @property
    def arrays(self) -> list[str]:
        """The names of the arrays of scores that tell the samples."""
        return list(self._signs)

    def add(self, samples: Sequence[str], scores: Mapping[str, np.ndarray]) -> set[str]:
        """Add scored samples, and return those of them that are among the best or the worst so far.

        Args:
            samples: their ids.
            scores: name -> a value for each of them; values that are not finite are left out.
        """
        found: set[str] = set()
        for name in self._signs.keys() & scores.keys():
            values = (scores[name] * self._signs[name]).tolist()
            new = [(value, sample) for value, sample in zip(values, samples, strict=True) if np.isfinite(value)]
            ranked = sorted({*self._so_far[name], *new})
            best = ranked[:EXTREMES] if name == self._by else []
            self._so_far[name] = sorted({*best, *ranked[-EXTREMES:]})
            found.update(sample for _, sample in self._so_far[name])
        return found.intersection(samples)

    def reasons(self) -> dict[str, list[str]]:
        """Return the ids of the best and the worst samples by what they are: "best", "worst", "worst colour", ..."""
        ids = {name: [sample for _, sample in ranked] for name, ranked in self._so_far.items()}
        told = ids.get(self._by or "", [])
        named = {"best": told[:EXTREMES], "worst": told[-EXTREMES:]}
        return named | {reason: ids[name] for reason, name in WORST.items()}
