"""The lines of a replay: a tensor, its largest difference, the tolerance, ok or FAIL; what was left out, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file


class NotBuilt(Exception):
    """The set is of a model that this project does not have; the message says which part of it."""


class Checks:
    """Collects comparisons of one reference set and prints a line for each.

    Args:
        name: of the set.
        tolerances: the set's own, by name.

    Attributes:
        checked, failed: how many comparisons, and how many of them did not hold.
        replayed: False for a set of a model that is not built here.
    """

    def __init__(self, name: str, tolerances: Mapping[str, float] | None = None):
        self.name = name
        self.tolerances = tolerances or {}
        self.seen: set[str] = set()
        self.checked = 0
        self.failed = 0
        self.replayed = True

    def tensors(self, path: Path) -> dict[str, torch.Tensor]:
        """A set's stored inputs and expected outputs by name."""
        return load_file(path)

    def atol(self, default: float, name: str = "atol") -> float:
        """An absolute tolerance: the set's own of that name, its `atol`, or the default."""
        return self.tolerances.get(name, self.tolerances.get("atol", default))

    def rtol(self, default: float, name: str = "rtol") -> float:
        """A relative tolerance: the set's own of that name, its `rtol`, or the default."""
        return self.tolerances.get(name, self.tolerances.get("rtol", default))

    def close(self, name: str, actual: Any, expected: Any, atol: float, rtol: float = 0.0) -> None:
        """Within atol + rtol * |expected| everywhere; integers and other exact things take atol 0."""
        a, e = (_array(v) for v in (actual, expected))
        if a.shape != e.shape:
            self._line(name, f"shape {a.shape} instead of {e.shape}", False)
            return
        difference = np.abs(a.astype(np.float64) - e.astype(np.float64))
        allowed = atol + rtol * np.abs(e.astype(np.float64))
        largest = float(difference.max(initial=0.0))
        ok = bool((difference <= allowed).all()) and not bool(np.isnan(difference).any())
        tolerance = "exact" if atol == rtol == 0 else f"{atol:g}" + (f" + {rtol:g}*|x|" if rtol else "")
        self._line(name, f"max abs diff {largest:.3g}  tolerance {tolerance}", ok)

    def equal(self, name: str, actual: object, expected: object, what: str = "equal") -> None:
        self._line(name, what if actual == expected else f"{actual!r} instead of {expected!r}", actual == expected)

    def skip(self, name: str, reason: str) -> None:
        """Name a stored tensor that is not an expectation, or cannot be checked, with the reason."""
        self.seen.add(name)
        print(f"{self.name}  {name}  skipped: {reason}", flush=True)

    def finish(self, stored: Iterable[str]) -> None:
        """Every stored tensor must have been checked or skipped."""
        for name in sorted(set(stored) - self.seen):
            self._line(name, "stored but never checked", False)

    def not_replayed(self, reason: str) -> None:
        """Say that the set was left out, and why."""
        self.replayed = False
        print(f"{self.name}  not replayed: {reason}", flush=True)

    def _line(self, name: str, text: str, ok: bool) -> None:
        self.seen.add(name)
        self.checked += 1
        self.failed += not ok
        print(f"{self.name}  {name}  {text}  {'ok' if ok else 'FAIL'}", flush=True)


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
