"""Result folders, by what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Found:
    """A result folder that could be read."""

    folder: Path
    result: dict[str, Any]
    run: dict[str, Any]

    @property
    def key(self) -> str:
        """A short name that is safe in a path and an address."""
        return sha256(self.folder.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass
class Results:
    """All of a folder of runs; `problems` are {"what", "why"}."""

    recon: list[Found] = field(default_factory=list)
    geneval: list[Found] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)


def find(runs: Path) -> Results:
    """Every result folder in `runs`, in the order of names."""
    results = Results()
    for path in sorted(runs.glob("*/result.json")):
        try:
            result, run = json.loads(path.read_bytes()), _optional(path.with_name("run.json"))
            if not isinstance(result, dict):
                raise ValueError("not a result")
            found = Found(path.parent, result, run)
            if result.get("suite") == "geneval":
                results.geneval.append(found)
            elif "tokenizer" in result and "metrics" in result:
                results.recon.append(found)
        except (OSError, ValueError) as error:
            results.problems.append({"what": path.parent.name, "why": str(error)})
    return results


def _optional(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_bytes()) if path.is_file() else {}
    return value if isinstance(value, dict) else {}
