"""Which assets there are, and what needs them.

Told by the entry points of group `lactok.assets`: each names a function that takes nothing and returns {what needs
them: assets}. Nothing here knows a table of assets.
"""

from __future__ import annotations

import logging

from lactok.plugins import points
from lactok.specs import Asset

GROUP = "lactok.assets"
logger = logging.getLogger(__name__)


def users_of_assets() -> dict[str, tuple[Asset, ...]]:
    """What needs assets, by name: tokenizers, generators, metrics, rewards, judges, trainings."""
    found: dict[str, tuple[Asset, ...]] = {}
    for point in sorted(points(GROUP), key=lambda p: p.name):
        try:
            found |= point.load()()
        except (Exception, SystemExit) as error:  # a broken plug-in must not hide the others
            logger.warning("left out: %s (%s): %s: %s", point.name, point.value, type(error).__name__, error)
    return found


def known_assets() -> dict[str, tuple[Asset, str]]:
    """Every asset by name, with the first that needs it."""
    found: dict[str, tuple[Asset, str]] = {}
    for user, assets in users_of_assets().items():
        for asset in assets:
            found.setdefault(asset.name, (asset, user))
    return found
