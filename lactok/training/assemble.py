"""`python -m lactok.train assemble`: LaCTok's trained copy and the frozen networks around it, as one weight file."""

from __future__ import annotations

from pathlib import Path

from lactok.errors import WrongValue, disk_errors
from lactok.training.checkpoint import save_state
from lactok.training.lactok import LaCTokRecipe, build_model


def assemble(recipe: LaCTokRecipe, copy: str, out: Path) -> None:
    """Write the whole tokenizer in float32, with the accelerator's LoRA merged into the UNet.

    Under the name `lactok-h.safetensors` the file serves as the weights of `lactok-h`.

    Args:
        recipe: the recipe that trained the copy.
        copy: the weight file that the trainer wrote, NAME.safetensors.
        out: the file to write; its name ends in .safetensors.

    Raises:
        UserError: `copy` does not fit the recipe's shape or stage, or `out` cannot be written.
    """
    if out.suffix != ".safetensors":
        raise WrongValue(f"`out` {out}: name a file, as in lactok-h.safetensors")
    model = build_model(recipe, copy, recipe.stage)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_state(out, model.state_dict(), {"name": recipe.name, "stage": recipe.stage})
