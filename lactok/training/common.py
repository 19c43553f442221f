"""The former place of what `lactok.config` and the modules beside this one hold; kept for one version."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

_FORMER = {
    "Curve": "lactok.training.record.Curve",
    "build": "lactok.config.build",
    "changes": "lactok.config.changes",
    "load_optimizer": "lactok.training.checkpoint.load_optimizer",
    "load_state": "lactok.training.checkpoint.load_state",
    "merged": "lactok.config.merged",
    "optimizer_tensors": "lactok.training.checkpoint.optimizer_tensors",
    "part": "lactok.training.checkpoint.under_prefix",
    "prefixed": "lactok.training.checkpoint.add_prefix",
    "read_config": "lactok.config.read",
    "repeatable": "lactok.training.numerics.repeatable",
    "save_state": "lactok.training.checkpoint.save_state",
}


def __getattr__(name: str) -> Any:
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is {_FORMER[name]} now", DeprecationWarning, stacklevel=2)
    module, _, attribute = _FORMER[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)
