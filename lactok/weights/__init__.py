"""Files of weights: where they are looked for, how they are fetched, and how they become tensors by name."""

from lactok.weights.cache import sha256
from lactok.weights.known import known_assets
from lactok.weights.resolution import (
    Resolved,
    cache_dir,
    load,
    load_strict,
    locate,
    own_is_meta,
    resolve,
    seen,
    size_text,
    state,
    use_folder,
    user_folders,
)

__all__ = [
    "Resolved",
    "cache_dir",
    "known_assets",
    "load",
    "load_strict",
    "locate",
    "own_is_meta",
    "resolve",
    "seen",
    "sha256",
    "size_text",
    "state",
    "use_folder",
    "user_folders",
]
