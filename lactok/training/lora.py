"""Find the LoRA that makes a diffusion model an accelerated one, and the factor with which it is merged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lactok import weights
from lactok.errors import UserError, one_line
from lactok.files import is_file, is_folder
from lactok.training.pretrained import find_weights
from lactok.weights import unpickle
from lactok.weights.cache import load_safetensors

CONFIG = "adapter_config.json"  # what PEFT writes beside a LoRA's weights
FILES = ("adapter_model.safetensors", "adapter_model.bin")  # the weights in a folder that PEFT wrote


class LoRA(NamedTuple):
    """A LoRA.

    Attributes:
        tensors: its matrices by name.
        scale: the factor with which B A is added to a layer's weight.
        where: what messages call it.
    """

    tensors: dict[str, Tensor]
    scale: float
    where: str


def load_lora(text: str, scale: float, device: str = "cpu") -> LoRA:
    """Read a LoRA.

    Args:
        text: a weight file, a folder as PEFT writes it, or the name of an asset.
        scale: the factor that the recipe states. Where an `adapter_config.json` lies beside the file, it is alpha / r
            of that file instead, and the recipe must leave it at 1.
        device: "meta" reads names and shapes alone.

    Raises:
        UserError: there is no such LoRA, or the recipe and `adapter_config.json` both state a factor.
    """
    path, config = _files(text)
    if config is not None:
        stated = scale_of(config)
        if scale != 1:
            raise UserError(
                f"lora_scale = {scale}, but {config} says alpha / r = {stated:g}: leave lora_scale out, or keep the "
                "weights in a folder without that file"
            )
        scale = stated
    if path.suffix == ".bin":
        tensors = unpickle.read(path)
        if device == "meta":
            tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    else:
        tensors = load_safetensors(path, device)
    return LoRA(tensors, scale, str(path))


def _files(text: str) -> tuple[Path, Path | None]:
    """Return the file of a LoRA's weights, and the `adapter_config.json` that belongs to it, if there is one."""
    path = Path(text).expanduser()
    if is_folder(path):
        found = [path / name for name in FILES if is_file(path / name)]
        if not found:
            raise UserError(f"lora: {path} holds neither {' nor '.join(FILES)}, which PEFT writes")
        path = found[0]
    elif not is_file(path):
        path = find_weights(text, "lora")
        known = weights.known_assets()
        if f"{text}-config" in known:
            return path, weights.resolve(known[f"{text}-config"][0]).path
    beside = path.parent / CONFIG
    return path, beside if is_file(beside) else None


def scale_of(config: Path) -> float:
    """Return alpha / r of PEFT's `adapter_config.json`; alpha / sqrt(r) where it says `use_rslora`.

    Args:
        config: the file, or the weights that hold its bytes as a tensor "json".

    Raises:
        UserError: the file does not state both, or gives some layers another rank or alpha.
    """
    try:
        if config.suffix == ".safetensors":
            values: Any = json.loads(bytes(load_safetensors(config)["json"].tolist()))
        else:
            values = json.loads(config.read_bytes())
        alpha, rank = float(values["lora_alpha"]), float(values["r"])
        if values.get("rank_pattern") or values.get("alpha_pattern"):
            raise UserError(f"lora: {config} gives some layers a rank or alpha of their own, which is not built")
        scale = alpha / math.sqrt(rank) if values.get("use_rslora") else alpha / rank
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"lora: {config} does not state lora_alpha and r ({one_line(repr(error))})") from error
    if not (math.isfinite(scale) and scale > 0):
        raise UserError(f"lora: {config} has lora_alpha = {alpha:g} and r = {rank:g}; both must be above 0")
    return scale
