"""The notes in a weight file beside its tensors: how it was trained, and the shapes of its networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from lactok import config
from lactok.errors import UserError, WrongValue, one_line

T = TypeVar("T")
BUNDLED = Path(__file__).parents[1] / "bundled"


def bundled(name: str) -> Path | None:
    """Return the weight file of a small model that the package ships, or None if it ships none of this name."""
    path = BUNDLED / f"{name}.safetensors"
    return path if path.is_file() else None


def notes(path: Path) -> dict[str, Any]:
    """Read what a training wrote beside its weights, without reading the weights.

    Returns:
        `name`, `step`, where they apply `stage` and `scaling` (the factor of a VAE's latents), and under `config` the
        shapes of the networks; nothing for files from elsewhere.

    Raises:
        UserError: the file is damaged.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            found = json.loads((file.metadata() or {}).get("meta", "{}"))
    except Exception as error:  # errors of safetensors have no common class
        raise UserError(f"{path} is damaged ({one_line(error)}); delete it and run again") from error
    kinds = {"name": str, "step": int, "stage": int, "scaling": int | float, "config": dict}
    if not isinstance(found, dict) or any(not isinstance(found[k], kind) for k, kind in kinds.items() if k in found):
        raise UserError(f"{path} is damaged (its notes are none of a training); delete it and run again")
    return found


def shape(path: Path, part: str, kind: type[T], otherwise: T | None = None) -> T:
    """Return the shape of a network (its widths, depths and so on) as its weight file states it.

    Args:
        path: the weight file, safetensors.
        part: which of the file's networks is meant, "model" for most.
        kind: the dataclass of the shape, or another type of plain values.
        otherwise: the shape for files that state none, such as the authors' own.

    Raises:
        UserError: the file states no shape and `otherwise` is None, or it states one of another kind of network.
    """
    found = notes(path).get("config", {}).get(part)
    if found is not None:
        return config.build(kind, found, f"{path} [{part}]")
    if otherwise is None:
        raise WrongValue(f"{path} does not say the shape of its network; state it in the recipe")
    return otherwise


def bundled_shape(name: str, part: str, kind: type[T]) -> T:
    """Return the shape of a network that the package ships, by the name of its weight file; see `shape`."""
    return shape(BUNDLED / f"{name}.safetensors", part, kind)
