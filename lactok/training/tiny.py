"""`python -m lactok.train tiny NAME`: everything from nothing that a shipped small tokenizer was trained by, in order.

`configs/tiny/NAME.toml` holds the stages of a training as tables `[[train]]`, each with its `trainer` and either a
recipe's keys or, as `recipe`, the recipe's file in `configs/`. A stage's run is the folder of its recipe's name; the
weights that a stage takes from an earlier one are named there as `training-runs/STAGE/STAGE.safetensors`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lactok import config
from lactok.errors import unknown

CONFIGS = Path(__file__).parent / "configs"
RUNS = "training-runs"


@dataclass(frozen=True)
class Stage:
    """One training of several: the trainer, its recipe's plain values and where they stand."""

    trainer: str
    values: dict[str, Any]
    where: str


def names() -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "tiny").glob("*.toml"))


def stages(name: str, runs: Path = Path(RUNS)) -> list[Stage]:
    """The stages of a small tokenizer's training, first to last.

    Args:
        runs: the folder of all runs, in place of `training-runs`.

    Raises:
        UserError: unknown name.
    """
    if name not in names():
        raise unknown("small tokenizer", name, names())
    path = CONFIGS / "tiny" / f"{name}.toml"
    found = []
    for i, table in enumerate(tomllib.loads(path.read_text())["train"]):
        trainer, where = table.pop("trainer"), f"{path.name}, stage {i + 1}"
        if recipe := table.pop("recipe", None):
            table = config.merged(tomllib.loads((CONFIGS / recipe).read_text()), table)
        found.append(Stage(trainer, _moved(table, runs), where))
    return found


def _moved(value: Any, runs: Path) -> Any:
    """Plain values with every path under `training-runs` brought under `runs`."""
    if isinstance(value, Mapping):
        return {k: _moved(v, runs) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, runs) for v in value]
    return str(runs / value.removeprefix(f"{RUNS}/")) if str(value).startswith(f"{RUNS}/") else value
