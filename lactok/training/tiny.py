"""`python -m lactok.train tiny NAME`: all trainings of a shipped small tokenizer, from scratch and in order.

`configs/tiny/NAME.toml` lists the stages as tables `[[train]]`. Each has the name of its `trainer` and either the keys
of a recipe or, as `recipe`, the name of a recipe's file in `configs/`. The run of a stage has the name of its recipe; a
recipe names the weights of an earlier stage as `training-runs/STAGE/STAGE.safetensors`.
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
    """One training of several.

    Attributes:
        trainer: name of the trainer.
        values: keys and values of the recipe, as a TOML file holds them.
        where: the file and stage that they come from, for error messages.
    """

    trainer: str
    values: dict[str, Any]
    where: str


def names() -> list[str]:
    """Return the names of the small tokenizers."""
    return sorted(path.stem for path in (CONFIGS / "tiny").glob("*.toml"))


def stages(name: str, runs: Path = Path(RUNS)) -> list[Stage]:
    """Return the stages of a small tokenizer's training, first to last.

    Args:
        name: name of the tokenizer.
        runs: the folder that takes the place of `training-runs` in the recipes.

    Raises:
        UnknownName: there is no such small tokenizer.
    """
    if name not in names():
        raise unknown("small tokenizer", name, names())
    path = CONFIGS / "tiny" / f"{name}.toml"
    found = []
    for i, table in enumerate(tomllib.loads(path.read_text())["train"]):
        trainer = table.pop("trainer")
        if "recipe" in table:
            recipe = tomllib.loads((CONFIGS / table.pop("recipe")).read_text())
            table = config.merged(recipe, table)
        found.append(Stage(trainer, _with_runs_in(table, runs), f"{path.name}, stage {i + 1}"))
    return found


def _with_runs_in(value: Any, runs: Path) -> Any:
    """Return values of a TOML file with every path in `training-runs` replaced by the same path in `runs`."""
    if isinstance(value, Mapping):
        return {k: _with_runs_in(v, runs) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_runs_in(v, runs) for v in value]
    if isinstance(value, str) and value.startswith(f"{RUNS}/"):
        return str(runs / value.removeprefix(f"{RUNS}/"))
    return value
