"""`python -m lactok.train assemble`: a trained copy and what it was trained beside, as one file of weights."""

from __future__ import annotations

from pathlib import Path

from lactok.errors import WrongValue, disk_errors
from lactok.training.checkpoint import save_state
from lactok.training.lactok import LaCTokRecipe, build_model


def assemble(recipe: LaCTokRecipe, copy: str, out: Path) -> None:
    """Write the whole tokenizer in float32, accelerator merged; as `lactok-h.safetensors` it is `lactok-h`'s weights.

    Args:
        copy: what the trainer wrote as NAME.safetensors.

    Raises:
        UserError: not a copy of this recipe's shape and stage.
    """
    if out.suffix != ".safetensors":
        raise WrongValue(f"`out` {out}: name a file, as in lactok-h.safetensors")
    model = build_model(recipe, copy, recipe.stage)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_state(out, model.state_dict(), {"name": recipe.name, "stage": recipe.stage})
