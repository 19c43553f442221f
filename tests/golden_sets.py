"""Regression sets of `tests/golden`: their replay, and how their expected outputs are made anew."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.verify import sets
from benchmarks.verify.checks import Checks
from lactok.nn.quantize import count_near_ties

FOLDER = Path(__file__).resolve().parent / "golden"
MADE_ANEW: list[str] = []  # lines for the end of the test run
TIES = "ids between two codes that rounding cannot tell apart"


class Lines(Checks):
    """Checks that keep the lines of what fell."""

    def __init__(self, reference: sets.ReferenceSet):
        super().__init__(reference.name, reference.tolerances)
        self.fallen: list[str] = []

    def _line(self, name: str, text: str, ok: bool) -> None:
        super()._line(name, text, ok)
        if not ok:
            self.fallen.append(f"{self.name}  {name}  {text}")


class Stored(dict[str, Tensor]):
    """The tensors of a file, to which a replay may add: a name that is not there yet gives an empty tensor."""

    def __missing__(self, name: str) -> Tensor:
        self[name] = torch.empty(0)
        return self[name]


class Recorder(Lines):
    """Puts in place of a stored output what was made instead, where the two differ by more than the tolerance.

    What a replay reads afterwards, it reads as it was made, so that one pass is enough. `write` says what changed.
    """

    def __init__(self, reference: sets.ReferenceSet):
        super().__init__(reference)
        self.files: dict[Path, Stored] = {}
        self.changed: list[str] = []

    def tensors(self, path: Path) -> dict[str, Tensor]:
        stored = load_file(path) if path.is_file() else {}
        return self.files.setdefault(path, Stored(stored))

    def close(self, name: str, actual: Any, expected: Any, atol: float, rtol: float = 0.0) -> None:
        before, fallen = self.failed, len(self.fallen)
        super().close(name, actual, expected, atol, rtol)
        places = [(file, key) for file in self.files.values() for key, value in file.items() if value is expected]
        if self.failed > before and places:
            self.changed += self.fallen[fallen:]
            del self.fallen[fallen:]
            self.failed = before
            ((file, key),) = places
            kept = torch.as_tensor(actual).detach().clone(memory_format=torch.contiguous_format)
            file[key] = kept.to(expected.dtype) if expected.numel() else kept

    def write(self) -> None:
        for path, stored in self.files.items():
            save_file(dict(stored), path)


def replayed(folder: Path, kind: type[Lines] = Lines) -> Lines:
    """The replay of a set; ids that rounding may decide count as fallen, so that no set is written with one."""
    reference = sets.read(folder)
    checks = kind(reference)
    with count_near_ties() as ties:
        sets.replay_of(reference.kind)(folder, reference.config, checks)
    checks.equal(TIES, sum(int(t.sum()) for t in ties), 0, "none")
    return checks


# A network's pictures are rounded to 8 bits before they are scored. Where its sums are rounded in another order, for
# example with another number of threads, single pixels move by one level, which changed SSIM by up to 3e-5.
ONE_LEVEL = 1e-3


@dataclass
class Differences:
    """Of two values made of tables, lists, numbers and texts; numbers in texts count as numbers.

    Attributes:
        atol, rtol: within which two numbers are the same; whole numbers and everything else must be equal.
        found: a line each.
    """

    atol: float
    rtol: float
    found: list[str] = field(default_factory=list)

    def compare(self, actual: Any, expected: Any, where: str = "") -> list[str]:
        """All differences, by place: `recon/resize-8/metrics/psnr/value: 20.5 instead of 20.4`."""
        if isinstance(actual, dict) and isinstance(expected, dict):
            for key in sorted(actual.keys() | expected.keys()):
                if key in actual and key in expected:
                    self.compare(actual[key], expected[key], f"{where}/{key}".lstrip("/"))
                else:
                    self.found.append(f"{where}/{key}: only {'made' if key in actual else 'stored'}")
        elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
            for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
                self.compare(a, e, f"{where}/{i}")
        elif isinstance(actual, str) and isinstance(expected, str) and actual != expected:
            self._text(actual, expected, where)
        elif isinstance(actual, float) and isinstance(expected, float):
            atol = max(self.atol, ONE_LEVEL) if "-tiny/" in where else self.atol
            one_is_nan = math.isnan(actual) != math.isnan(expected)
            if one_is_nan or abs(actual - expected) > atol + self.rtol * abs(expected):
                difference = f"difference {abs(actual - expected):.3g}, tolerance {atol:g} + {self.rtol:g}*|x|"
                self.found.append(f"{where}: {actual!r} instead of {expected!r}, {difference}")
        elif actual != expected:
            self.found.append(f"{where}: {actual!r} instead of {expected!r}")
        return self.found

    def _text(self, actual: str, expected: str, where: str) -> None:
        """Line by line: the words must be the same, and printed numbers to one unit of their last digit."""
        lines = actual.splitlines(), expected.splitlines()
        if len(lines[0]) != len(lines[1]):
            self.found.append(f"{where}: {len(lines[0])} lines instead of {len(lines[1])}")
            return
        for number, (a, e) in enumerate(zip(*lines, strict=True), 1):
            if not same_line(a, e):
                self.found.append(f"{where}, line {number}: {a!r} instead of {e!r}")


NUMBER = re.compile(r"-?\d+\.\d+")


def same_line(first: str, second: str) -> bool:
    """Two lines of the same words whose decimals differ by one unit of the last digit at most.

    >>> same_line("psnr  20.41 dB", "psnr  20.42 dB"), same_line("psnr 20.41 dB", "psnr 20.51 dB")
    (True, False)
    """
    if NUMBER.sub("#", first) != NUMBER.sub("#", second):
        return False
    for a, b in zip(NUMBER.findall(first), NUMBER.findall(second), strict=True):
        digits = len(b.partition(".")[2])
        if len(a.partition(".")[2]) != digits or abs(float(a) - float(b)) > 1.01 * 10**-digits:
            return False
    return True


def hold(folder: Path, regenerate: bool) -> None:
    """A set holds, or is made anew and says what changed.

    Raises:
        pytest.fail.Exception: names each tensor that differs, its greatest difference and the tolerance.
    """
    checks = replayed(folder, Recorder if regenerate else Lines)
    if checks.fallen:
        pytest.fail("\n".join([f"{folder.name}: {len(checks.fallen)} of {checks.checked} fell", *checks.fallen]))
    if isinstance(checks, Recorder) and checks.changed:
        checks.write()
        told(folder.name, checks.changed)


def hold_values(name: str, actual: Any, regenerate: bool, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    """The same for a suite's numbers, in `tests/golden/NAME.json`."""
    path = FOLDER / f"{name}.json"
    actual = json.loads(json.dumps(actual))
    expected = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = Differences(atol, rtol).compare(actual, expected, name)
    if found and regenerate:
        path.write_text(json.dumps(actual, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        told(path.name, found)
    elif found:
        pytest.fail("\n".join([f"{path.name}: {len(found)} values differ", *found[:40]]))


def told(name: str, changed: list[str]) -> None:
    """Keep what a regeneration changed for the end of the run, where the test command prints it."""
    MADE_ANEW.extend([f"{name} made anew: {len(changed)} changed", *(f"  {line}" for line in changed[:20])])
