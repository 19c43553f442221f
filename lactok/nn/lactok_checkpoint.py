"""LaCTok's published checkpoint under this project's names: LoRA merged, weights that do nothing left out.

The released file holds the UNet as PEFT wraps it. Every key is accounted for: loaded, merged, or named here as unused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from lactok.errors import UserError
from lactok.nn.latent_decoder import CROSS_ATTENTION

LORA_SCALE = 8 / 64  # quirk: lora_alpha was left at PEFT's default of 8 beside rank 64
UNET = "decoder.unet.base_model.model."
UNUSED = ("post_quant_conv.", "quantize.codebook_used")
_DEAD = re.compile(r"\.transformer_blocks\.\d+\.(" + "|".join(map(re.escape, CROSS_ATTENTION)) + ")")


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


def left_out(name: str) -> str:
    """Why a tensor of the released checkpoint is not among those that are loaded; "" where it is."""
    if name.startswith(UNUSED):
        return "not used by encoding or decoding"
    if ".lora_" in name:
        return "merged into its layer"
    return "attention over zero text" if _DEAD.search(name.replace(".base_layer.", ".")) else ""


def drop_cross_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the weights of attention over zero text: queries, keys, values, output matrix and the norm before."""
    return {k: v for k, v in tensors.items() if not _DEAD.search(k)}


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


def add_lora(unet: Mapping[str, Tensor], lora: Mapping[str, Tensor], scale: float, where: str) -> dict[str, Tensor]:
    """A folded UNet's tensors with a LoRA merged: `path.lora_A.default.weight`, with or without `unet.` and `default.`.

    Args:
        where: the LoRA's file, for messages.

    Raises:
        UserError: no LoRA, or one of another network.
    """
    named = {
        re.sub(r"\.lora_([AB])\.weight$", r".lora_\1.default.weight", k.removeprefix("unet.")): v
        for k, v in lora.items()
        if ".attn2." not in k  # of a UNet whose cross-attention is not folded: nothing is left to change
    }
    if not any(".lora_A." in k for k in named):
        raise UserError(f"lora: {where} holds no LoRA; was it merged already?")
    wrapped = {k.partition(".lora_")[0] for k in named}
    if strange := sorted(p for p in wrapped if f"{p}.weight" not in unet):
        raise UserError(f"lora: {where} is of another network: this one has no layer {strange[0]}")
    based = {}
    for name, tensor in unet.items():
        path, _, kind = name.rpartition(".")
        based[f"{path}.base_layer.{kind}" if path in wrapped else name] = tensor
    return merge_lora(based | named, scale)


def assemble(
    encoder: Mapping[str, Tensor],
    vae: Mapping[str, Tensor],
    unet: Mapping[str, Tensor],
    lora: Mapping[str, Tensor] | None,
    copy: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """All of `LaCTok` from its parts as the trainers export them, in float32.

    Args:
        encoder: of a VQ tokenizer, which may hold more than encoder and codebook.
        lora: the accelerator, its scale multiplied in.
    """
    if lora is not None:
        unet = add_lora(unet, lora, 1.0, "the accelerator")
    parts = {"vae": vae, "decoder.unet": unet, "decoder.controlnet": copy}
    whole = {k: v for k, v in encoder.items() if k.startswith(("encoder.", "quant_conv.", "quantize."))}
    whole |= {f"{prefix}.{k}": v for prefix, part in parts.items() for k, v in part.items()}
    return {k: v.float() for k, v in whole.items()}
