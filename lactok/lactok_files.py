"""LaCTok's published checkpoint under this project's names: LoRA merged, weights that do nothing left out.

The released file holds the UNet as PEFT wraps it. Every key is accounted for: loaded, merged, or named here as unused.
"""

from __future__ import annotations

import re

from torch import Tensor

from lactok.decoder import CROSS_ATTENTION
from lactok.errors import UserError

LORA_SCALE = 8 / 64  # quirk: lora_alpha was left at PEFT's default of 8 beside rank 64
UNET = "decoder.unet.base_model.model."
UNUSED = ("post_quant_conv.", "quantize.codebook_used")


def merge_lora(tensors: dict[str, Tensor], scale: float = LORA_SCALE) -> dict[str, Tensor]:
    """PEFT's `path.base_layer.weight`, `path.lora_A.default.weight`, `path.lora_B...` -> `path.weight` + scale * B A.

    Raises:
        UserError: half of a pair, or no wrapped layer at all.
    """
    out: dict[str, Tensor] = {}
    wrapped = {k.removesuffix(".lora_A.default.weight") for k in tensors if k.endswith(".lora_A.default.weight")}
    for name, tensor in tensors.items():
        path, _, rest = name.partition(".base_layer.")
        if ".lora_" in name:
            if name.partition(".lora_")[0] not in wrapped:
                raise UserError(f"the checkpoint has {name} but not the other half of this LoRA pair")
            continue
        if rest == "weight" and path in wrapped:
            a, b = tensors.get(f"{path}.lora_A.default.weight"), tensors.get(f"{path}.lora_B.default.weight")
            if a is None or b is None:
                raise UserError(f"the checkpoint has half of the LoRA pair of {path}")
            change = (b.float().flatten(1) @ a.float().flatten(1)).view(tensor.shape)
            tensor = (tensor.float() + scale * change).to(tensor.dtype)
        out[f"{path}.{rest}" if rest else name] = tensor
    return out


def drop_cross_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the weights of attention over zero text: queries, keys, values, output matrix and the norm before."""
    dead = re.compile(r"\.transformer_blocks\.\d+\.(" + "|".join(map(re.escape, CROSS_ATTENTION)) + ")")
    return {k: v for k, v in tensors.items() if not dead.search(k)}


def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released checkpoint ('model', else 'state_dict', else flat) as `LaCTok` loads it.

    Raises:
        UserError: no LoRA in it, because it was merged before or it is the stage-1 model.
    """
    for part in ("model.", "state_dict."):
        inside = {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
        if any(k.startswith(UNET) for k in inside):
            tensors = inside
            break
    if not any(".lora_A." in k for k in tensors):
        raise UserError(
            "this LaCTok checkpoint has no LoRA: it was merged already or is of stage 1; the accelerated model's file "
            "holds the UNet as PEFT wraps it (decoder.unet.base_model.model....lora_A.default.weight)"
        )
    named = {k.replace(UNET, "decoder.unet.", 1): v for k, v in tensors.items() if not k.startswith(UNUSED)}
    return drop_cross_attention(merge_lora(named))
