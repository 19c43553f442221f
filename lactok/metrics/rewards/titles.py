"""Titles and decimal places of rewards in tables, known without importing a network."""

from __future__ import annotations

from lactok.metrics.registry import Metric

# name -> (title, number of decimal places)
SHOWN: dict[str, tuple[str, int]] = {
    "image_reward": ("ImageReward", 3),
    "mps": ("MPS", 2),
    "hpsv2": ("HPSv2, no antialias", 4),
    "hpsv2-aa": ("HPSv2, antialias", 4),
    "hpsv2.1": ("HPSv2.1, no antialias", 4),
    "hpsv2.1-aa": ("HPSv2.1, antialias", 4),
    "pickscore": ("PickScore", 4),
    "clip_score": ("CLIP score", 4),
    "aesthetic": ("Aesthetic", 4),
    "mps-0.01": ("MPS 0.01", 2),
}


def described(name: str, higher: bool = True) -> Metric:
    """Return the declaration by which tables show a reward; a plug-in's reward has its name as its title.

    Args:
        name: the reward's name.
        higher: whether higher is better, as the reward's result says.
    """
    title, digits = SHOWN.get(name, (name, 4))
    return Metric(name, title, higher, digits, own=name in SHOWN)
