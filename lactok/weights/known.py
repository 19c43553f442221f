"""Which assets there are, and what needs them.

Entry points of the group `lactok.assets` tell it: each names a function without arguments that returns a dictionary,
the name of what needs assets -> these assets. So there is no list of all assets to keep up.
"""

from __future__ import annotations

import logging

from lactok.plugins import points
from lactok.specs import Asset

GROUP = "lactok.assets"
logger = logging.getLogger(__name__)


def groups_of_assets() -> dict[str, dict[str, tuple[Asset, ...]]]:
    """Return the assets of everything that needs some, in groups: heading -> name of the user -> its assets.

    A heading is the name of an entry point without the number that sorts it, "metrics" or "adapters" for example. An
    entry point that cannot be imported is left out with a warning.
    """
    found: dict[str, dict[str, tuple[Asset, ...]]] = {}
    for point in sorted(points(GROUP), key=lambda p: p.name):
        try:
            found.setdefault(point.name.lstrip("0123456789 "), {}).update(point.load()())
        except (Exception, SystemExit) as error:  # a broken plug-in must not hide the others
            text = f"{type(error).__name__}: {error}"
            logger.warning("left out: %s (%s): %s", point.name, point.value, text)
    return found


def users_of_assets() -> dict[str, tuple[Asset, ...]]:
    """Return the assets of every tokenizer, generator, metric, reward, judge and training by its name."""
    return {user: assets for group in groups_of_assets().values() for user, assets in group.items()}


def known_assets() -> dict[str, tuple[Asset, str]]:
    """Return every asset by its name, each with the name of the first thing that needs it."""
    found: dict[str, tuple[Asset, str]] = {}
    for user, assets in users_of_assets().items():
        for asset in assets:
            found.setdefault(asset.name, (asset, user))
    return found
