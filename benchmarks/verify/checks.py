"""Comparisons of a replay, each printed as a line: the tensor, its largest difference, the tolerance, ok or FAIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file


class NotBuilt(Exception):
    """The set needs something that this project does not have; the message says what."""


class Checks:
    """The comparisons of one reference set or manifest; each prints a line.

    Args:
        name: name of the set, with which each line begins.
        tolerances: tolerances that the set itself gives, by name; they replace the defaults of its kind.

    Attributes:
        seen: names that were compared or skipped.
        checked: number of comparisons.
        failed: number of comparisons that did not hold.
        replayed: False if the set was left out, because its model is not built here.
        nearest: of the comparison that came nearest to its tolerance: the share of it that was needed, the tensor, its
            largest difference and the tolerance; None where all had to be equal.
    """

    def __init__(self, name: str, tolerances: Mapping[str, float] | None = None):
        self.name = name
        self.tolerances = tolerances or {}
        self.seen: set[str] = set()
        self.checked = 0
        self.failed = 0
        self.replayed = True
        self.nearest: tuple[float, str, float, str] | None = None

    def tensors(self, path: Path) -> dict[str, torch.Tensor]:
        """Return the stored inputs and expected outputs of a file of the set, by name."""
        return load_file(path)

    def atol(self, default: float, name: str = "atol") -> float:
        """Return an absolute tolerance: the set's own of this name, else the set's `atol`, else the default."""
        return self.tolerances.get(name, self.tolerances.get("atol", default))

    def rtol(self, default: float, name: str = "rtol") -> float:
        """Return a relative tolerance: the set's own of this name, else the set's `rtol`, else the default."""
        return self.tolerances.get(name, self.tolerances.get("rtol", default))

    def close(self, name: str, actual: Any, expected: Any, atol: float, rtol: float = 0.0) -> None:
        """Check that shapes are equal and |actual - expected| <= atol + rtol * |expected| for every element.

        Args:
            name: name of the tensor.
            actual: a tensor, an array or a number that this project computed.
            expected: the stored one.
            atol, rtol: absolute and relative tolerance; both 0 for integers and all else that must be equal.
        """
        found, stored = _array(actual), _array(expected)
        if found.shape != stored.shape:
            self._line(name, f"shape {found.shape} instead of {stored.shape}", False)
            return
        found, stored = found.astype(np.float64), stored.astype(np.float64)
        difference = np.abs(found - stored)
        allowed = atol + rtol * np.abs(stored)
        largest = float(difference.max(initial=0.0))
        ok = bool((difference <= allowed).all())  # False for NaN too
        if atol == rtol == 0:
            tolerance = "exact"
        elif rtol:
            tolerance = f"{atol:g} + {rtol:g}*|x|"
        else:
            tolerance = f"{atol:g}"
        if allowed.size and allowed.min() > 0:
            share = float((difference / allowed).max())
            self.nearest = max(self.nearest or (0.0, name, 0.0, tolerance), (share, name, largest, tolerance))
        self._line(name, f"max abs diff {largest:.3g}  tolerance {tolerance}", ok)

    def close_to(self, stored: Mapping[str, Any], atol: float, rtol: float) -> Callable[[str, Any], None]:
        """Return a function that compares a tensor with the stored one of the same name.

        Args:
            stored: expected outputs by name.
            atol, rtol: default tolerances, which the set's own `atol` and `rtol` replace.
        """

        def close(name: str, actual: Any) -> None:
            self.close(name, actual, stored[name], self.atol(atol), self.rtol(rtol))

        return close

    def equal(self, name: str, actual: object, expected: object, text: str = "equal") -> None:
        """Check that two values are equal; `text` is printed if they are."""
        ok = actual == expected
        self._line(name, text if ok else f"{actual!r} instead of {expected!r}", ok)

    def skip(self, name: str, reason: str) -> None:
        """Print that a stored tensor is not compared, because it is an input or for another reason."""
        self.seen.add(name)
        print(f"{self.name}  {name}  skipped: {reason}", flush=True)

    def finish(self, stored: Iterable[str]) -> None:
        """Fail for every stored name that was neither compared nor skipped."""
        for name in sorted(set(stored) - self.seen):
            self._line(name, "stored but never checked", False)

    def not_replayed(self, reason: str) -> None:
        """Print that the whole set was left out, and why."""
        self.replayed = False
        print(f"{self.name}  not replayed: {reason}", flush=True)

    def _line(self, name: str, text: str, ok: bool) -> None:
        """Count a comparison and print its line."""
        self.seen.add(name)
        self.checked += 1
        if not ok:
            self.failed += 1
        print(f"{self.name}  {name}  {text}  {'ok' if ok else 'FAIL'}", flush=True)


def _array(value: Any) -> np.ndarray:
    """Return a tensor, array or number as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
