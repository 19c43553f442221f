"""`python -m lactok.train assemble`: LaCTok's trained copy and the frozen networks around it, as one weight file."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from lactok.errors import WrongValue, disk_errors
from lactok.files import is_folder
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
        UserError: a file is missing or does not fit the recipe's shape or stage, or `out` cannot be written. All this
            is found before the weights are read, which for SDXL's UNet takes 11 GB of memory.
    """
    if out.suffix != ".safetensors" or is_folder(out):
        raise WrongValue(f"`out` {out}: name a file, as in lactok-h.safetensors")
    needed = sum(4 * tensor.numel() for tensor in build_model(recipe, copy, recipe.stage, "meta").state_dict().values())
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if shutil.disk_usage(out.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        model = build_model(recipe, copy, recipe.stage)
        save_state(out, model.state_dict(), {"name": recipe.name, "stage": recipe.stage})
