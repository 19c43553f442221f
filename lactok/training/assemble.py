"""`python -m lactok.train assemble`: LaCTok's trained copy and the frozen networks around it, as one weight file.

The copy of either stage is taken. That of stage 1 makes VQ-LADD: beside the plain UNet, or with the UNet that a recipe
of stage 2 accelerates, as Table 4 of the paper has it.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from lactok.errors import WrongValue, disk_errors
from lactok.files import is_folder
from lactok.training.checkpoint import save_state
from lactok.training.lactok import LaCTokRecipe, build_model

# the tokenizers that a file may be named for, by the stage of the copy and the accelerator
NAMES = {
    (1, ""): ("vq-ladd",),
    (1, "hyper-sd"): ("vq-ladd-h",),
    (1, "tlcm"): ("vq-ladd-t",),
    (2, "hyper-sd"): ("lactok-h", "lactok-h-star"),
    (2, "tlcm"): ("lactok-t", "lactok-t-star"),
}


def assemble(recipe: LaCTokRecipe, copy: str, out: Path, stage: int | None = None) -> None:
    """Write the whole tokenizer in float32, with the accelerator's LoRA merged into the UNet.

    Under the name `lactok-h.safetensors` the file serves as the weights of `lactok-h`.

    Args:
        recipe: the recipe that trained the copy; for VQ-LADD with an accelerator the recipe of stage 2.
        copy: the weight file that the trainer wrote, NAME.safetensors.
        out: the file to write; its name ends in .safetensors.
        stage: the stage of the copy; by default that of the recipe.

    Raises:
        UserError: a file is missing or does not fit the recipe's shape or the stage, `out` is named for another
            tokenizer or cannot be written. All this is found before the weights are read, which for SDXL's UNet takes
            11 GB of memory.
    """
    stage = recipe.stage if stage is None else stage
    check_name(recipe, stage, out)
    needed = sum(4 * tensor.numel() for tensor in build_model(recipe, copy, stage, "meta").state_dict().values())
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if shutil.disk_usage(out.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        model = build_model(recipe, copy, stage)
        save_state(out, model.state_dict(), {"name": recipe.name, "stage": stage})


def check_name(recipe: LaCTokRecipe, stage: int, out: Path) -> None:
    """Raise WrongValue for a stage that the recipe does not have, and an `out` that names another tokenizer or no file.

    A file of another name is nobody's until it is renamed, but the weights of one row of Table 4 under the name of
    another would give a wrong table.
    """
    if out.suffix != ".safetensors" or is_folder(out):
        raise WrongValue(f"`out` {out}: name a file, as in lactok-h.safetensors")
    if stage > recipe.stage:
        raise WrongValue(f"`stage` {stage}: the recipe is of stage {recipe.stage}; take that of stage {stage}")
    right = NAMES[stage, recipe.sampler if recipe.stage == 2 else ""]
    if out.stem not in right and any(out.stem in names for names in NAMES.values()):
        accelerated = f" and {recipe.sampler}" if recipe.stage == 2 else ""
        raise WrongValue(
            f"`out` {out.name}: a copy of stage {stage}{accelerated} makes {right[0]}; name it {right[0]}.safetensors"
        )
