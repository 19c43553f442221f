"""Reference sets: which kinds are built here, what a set says about itself, and its replay."""

from __future__ import annotations

import difflib
import importlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from benchmarks.verify.checks import Checks, NotBuilt
from lactok.errors import MissingFile, UserError, WeightsNotFound

# kind -> module with replay(folder, config, checks)
KINDS = {
    "llamagen_vq": "benchmarks.verify.llamagen_vq",
    "vqgan": "benchmarks.verify.vqgan",
    "titok": "benchmarks.verify.titok",
    "flextok": "benchmarks.verify.flextok",
    "seed": "benchmarks.verify.seed",
    "seed_unclip": "benchmarks.verify.seed_unclip",
    "lactok_decoder": "benchmarks.verify.lactok_decoder",
    "lactok_encoder": "benchmarks.verify.lactok_encoder",
    "geneval": "benchmarks.verify.geneval",
    "metrics": "benchmarks.verify.metrics",
    "rewards": "benchmarks.verify.rewards",
    "outputs": "benchmarks.verify.outputs",
}
# what a damaged file, a missing entry or a tensor of another shape ends in somewhere inside a replay
DAMAGE = (
    UserError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    StopIteration,
    EOFError,
    SafetensorError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class ReferenceSet:
    """What the files of a set say about it.

    Attributes:
        config: its config.json, {} where it has none.
        tolerances: by name, "atol" and "rtol" among them, where the set gives its own: `tolerances` of set.json, or
            what its README suggests.
    """

    folder: Path
    kind: str
    name: str
    config: dict[str, Any]
    tolerances: Mapping[str, float]


def read(folder: Path) -> ReferenceSet:
    """A set's description.

    Raises:
        UserError: no set.json, or a damaged one.
    """
    if not folder.exists():
        raise MissingFile(f"no such folder {folder}; name reference sets (folders with a set.json)")
    if not (folder / "set.json").is_file():
        raise UserError(f"{folder} is not a reference set: it has no set.json")
    try:
        described = _object(folder / "set.json")
        values = _object(folder / "config.json") if (folder / "config.json").is_file() else {}
        tolerances = suggested(folder) | {str(k): float(v) for k, v in described.get("tolerances", {}).items()}
        return ReferenceSet(folder, str(described["kind"]), str(described["name"]), values, tolerances)
    except DAMAGE as error:
        raise _damaged(folder, error) from error


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} is no JSON object")
    return value


_NUMBER = r"[0-9.]+(?:e-?[0-9]+)?"
_SUGGESTED = re.compile(rf"suggested tolerance atol=(?P<atol>{_NUMBER}).*?rtol (?P<rtol>{_NUMBER})")


def suggested(folder: Path) -> dict[str, float]:
    """The tolerances of a set's README, which its maker wrote by measuring: "suggested tolerance atol=1e-04 on floats
    of O(1..10), rtol 1e-4"; empty where the README says it otherwise."""
    readme = folder / "README.md"
    found = _SUGGESTED.search(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    return {name: float(value) for name, value in found.groupdict().items()} if found else {}


def replay(reference: ReferenceSet) -> Checks:
    """Every stored tensor of a set compared with what this project's model makes of the stored inputs.

    Raises:
        UserError: the set is incomplete or damaged; WeightsNotFound where a metric's own network is not here.
    """
    checks = Checks(reference.name, reference.tolerances)
    if reference.kind not in KINDS:
        near = difflib.get_close_matches(reference.kind, KINDS, n=1, cutoff=0.8)
        hint = f", did you mean {near[0]!r}?" if near else ""
        checks.not_replayed(f"no model of kind {reference.kind!r} is built here{hint}")
        return checks
    run = importlib.import_module(KINDS[reference.kind]).replay
    try:
        run(reference.folder, reference.config, checks)
    except NotBuilt as reason:
        checks.not_replayed(str(reason))
    except (WeightsNotFound, BrokenPipeError):  # not the set's fault
        raise
    except DAMAGE as error:
        raise _damaged(reference.folder, error) from error
    return checks


def _damaged(folder: Path, error: BaseException) -> UserError:
    """One line for whatever a damaged set led to."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) and not isinstance(error, UserError):
        text = f"{text} is missing"
    elif not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}"
    return UserError(f"{folder} is incomplete or damaged: {text if len(text) <= 300 else text[:297] + '...'}")
