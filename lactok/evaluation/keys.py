"""What scores, features and pictures of a run depend on, as hashes for the keys of the store, and nothing else of it.

A setting that is not part of a hash may change without anything being computed again: distances between sets are
computed from stored features, so adding one, or a new version of one, decodes and scores no image again.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

from lactok.evaluation.config import Run
from lactok.evaluation.protocol import digest
from lactok.metrics.registry import DistanceMetric, Features, Metric, find


def _features(metrics: list[Metric]) -> list[Features]:
    """Return the feature extractors that metrics need, each once, by name."""
    found = {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}
    return [found[name] for name in sorted(found)]


def _networks(run: Run, wanted: set[str]) -> list[tuple[str, str]]:
    """Return the names and digests of those of the run's networks that are wanted."""
    return [(name, sha256) for name, sha256 in run.networks if name in wanted]


def outputs_key(run: Run) -> str:
    """Return the hash of how a tokenizer's output becomes pixels: the protocol's `Score` without its metrics."""
    settings = asdict(run.protocol.score)
    del settings["metrics"], settings["fast"]
    return digest([settings, version("pillow")])


def features_key(run: Run) -> str:
    """Return the hash of how images become features: extractors, their networks and libraries, and the machine.

    It is the same for photographs and reconstructions; which pixels these have is not part of it.
    """
    extractors = _features([find(key) for key in run.protocol.score.metrics])
    networks = _networks(run, {asset.name for each in extractors for asset in each.networks})
    place = run.place(networks=True, batched=False)
    return digest([[each.hashed() for each in extractors], networks, place, version("pillow"), *_fast(run)])


def _fast(run: Run) -> list[str]:
    """Return what stands in hashes for networks of metrics that compute in bfloat16; nothing where they do not."""
    return ["fast"] if run.protocol.score.fast else []


def scores_key(run: Run) -> str:
    """Return the hash of all that decides a shard's scores, states and features, given ids and references."""
    metrics = [find(key) for key in run.protocol.score.metrics]
    scored = [metric for metric in metrics if not isinstance(metric, DistanceMetric)]
    networks = _networks(run, {asset.name for metric in scored for asset in metric.needs})
    has_networks = bool(networks) or any(not metric.own for metric in scored)  # others may have networks of their own
    return digest(
        [
            outputs_key(run),
            {metric.key: metric.hashed() for metric in scored},
            networks,
            run.place(has_networks, batched=False),
            features_key(run) if len(scored) < len(metrics) else None,
            *_fast(run),
        ]
    )
