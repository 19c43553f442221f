"""Names, shapes and dtypes of an official checkpoint against the model on the meta device."""

from __future__ import annotations

import json
from pathlib import Path

import lactok
from benchmarks.verify.checks import Checks
from lactok.errors import UserError, unknown

# manifest -> tokenizer whose network must have exactly these tensors
MODELS = {
    "llamagen_vq16": "llamagen-vq16",
    "llamagen_vq8": "llamagen-vq8",
}


def compare(path: Path, checks: Checks) -> None:
    """One check a tensor of the manifest, and one for what the model has beside them.

    Raises:
        UserError: not a manifest, or of a model that is not built here.
    """
    try:
        tensors = json.loads(path.read_text())["tensors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a manifest (JSON with a list `tensors`): {error}") from error
    if path.stem not in MODELS:
        raise unknown("manifest", path.stem, MODELS)
    own = {
        name: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in lactok.build(MODELS[path.stem]).get_submodule("model").state_dict().items()
    }
    for tensor in tensors:
        checks.equal(tensor["name"], own.get(tensor["name"]), [tensor["shape"], tensor["dtype"]])
    extra = sorted(own.keys() - {t["name"] for t in tensors})
    checks.equal("tensors beside these", extra, [], "none")
