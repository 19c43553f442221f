"""The networks of a run's metrics: fetched before anything is computed, and named in the result by their digests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from lactok import weights
from lactok.errors import WeightsNotFound
from lactok.evaluation.config import Run
from lactok.metrics.registry import METRICS, find

logger = logging.getLogger(__name__)


def with_networks(run: Run, asked: str | Sequence[str]) -> Run:
    """Return a run with the networks of its metrics, which are fetched if need be.

    Args:
        run: the run.
        asked: the metrics that were asked for. Of "all", those that cannot be had are left out, with a line in the log.

    Raises:
        WeightsNotFound: a network of a metric that was named cannot be had.
    """
    if asked == "all":
        kept = []
        for metric in map(find, run.protocol.score.metrics):
            try:
                for asset in metric.needs:
                    weights.resolve(asset)
                if metric.check is not None:
                    metric.check()
                kept.append(metric.key)
            except WeightsNotFound as error:
                logger.warning("left out: %s: %s", metric.key, error)
        score = replace(run.protocol.score, metrics=tuple(kept))
        run = replace(run, protocol=replace(run.protocol, score=score))
    return replace(run, networks=metric_networks(run))


def metric_networks(run: Run) -> tuple[tuple[str, str], ...]:
    """Return the names and digests of the networks that the run's metrics need; they are fetched if need be.

    Raises:
        WeightsNotFound: one cannot be had; the message says which metrics do without.
    """
    found, missing = {}, {}
    metrics = {key: find(key) for key in run.protocol.score.metrics}
    for key, metric in metrics.items():
        try:
            for asset in metric.needs:
                found[asset.name] = weights.resolve(asset).sha256
            if metric.check is not None:
                metric.check()
        except WeightsNotFound as error:
            missing[key] = str(error)
    if missing:
        others = ",".join(key for key in metrics if key not in missing) or METRICS.names()[0]
        whys = "; ".join(f"{key}: {why}" for key, why in missing.items())
        raise WeightsNotFound(f"{whys}; or leave {'it' if len(missing) == 1 else 'them'} out: `metrics` {others}")
    return tuple(sorted(found.items()))


def known_networks(run: Run) -> tuple[tuple[str, str], ...]:
    """Return what `metric_networks` does, but only the networks that are on this machine; nothing is fetched."""
    found = {}
    for key in run.protocol.score.metrics:
        for asset in find(key).needs:
            located = weights.locate(asset)
            if located is not None:
                found[asset.name] = located.sha256
    return tuple(sorted(found.items()))
