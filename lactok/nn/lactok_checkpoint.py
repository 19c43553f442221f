"""Conversion of LaCTok's checkpoints: the LoRA is merged into the UNet, and weights without any effect are left out.

The authors' file holds the UNet as PEFT wraps it. Each of its tensors is loaded, merged, or named here as unused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from lactok.errors import UserError
from lactok.nn.latent_decoder import CROSS_ATTENTION
from lactok.weights.wrappers import stored

LORA_SCALE = 8 / 64  # quirk: the rank is 64, but lora_alpha was left at PEFT's default of 8
UNET = "decoder.unet.base_model.model."  # what the names of the wrapped UNet's tensors begin with
UNUSED = ("post_quant_conv.", "quantize.codebook_used")
# weights of cross-attention that have no effect, because the text is zero; see `lactok.nn.latent_decoder`
_WITHOUT_EFFECT = re.compile(r"\.transformer_blocks\.\d+\.(" + "|".join(map(re.escape, CROSS_ATTENTION)) + ")")


def merge_lora(tensors: dict[str, Tensor], scale: float = LORA_SCALE) -> dict[str, Tensor]:
    """Merge a LoRA into the layers that PEFT wraps.

    Args:
        tensors: with PEFT's names, `PATH.base_layer.weight`, `PATH.lora_A.default.weight` and
            `PATH.lora_B.default.weight` for a wrapped layer; others stay as they are.
        scale: factor of the LoRA.

    Returns:
        The tensors under the names of the unwrapped network; the weight of a wrapped layer is weight + scale * B A.

    Raises:
        UserError: one of the matrices A and B of a layer is missing.
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
    """Return why a tensor of the authors' checkpoint is not loaded under a name of its own; "" for those that are."""
    if name.startswith(UNUSED):
        return "not used by encoding or decoding"
    if ".lora_" in name:
        return "merged into its layer"
    return "attention over zero text" if _WITHOUT_EFFECT.search(name.replace(".base_layer.", ".")) else ""


def drop_cross_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without those of cross-attention, of which the output's bias alone has an effect and stays."""
    return {k: v for k, v in tensors.items() if not _WITHOUT_EFFECT.search(k)}


def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the authors' checkpoint as `LaCTok` loads them.

    The network is under "model" or under "state_dict", or it is the whole file.

    Raises:
        UserError: there is no LoRA, because it was merged before, or because the model is of stage 1.
    """
    tensors = stored(tensors, ("model", "state_dict"))
    if not any(k.startswith(UNET) and ".lora_A." in k for k in tensors):
        raise UserError(
            "this LaCTok checkpoint has no LoRA: it was merged already or is of stage 1; the accelerated model's file "
            "holds the UNet as PEFT wraps it (decoder.unet.base_model.model....lora_A.default.weight)"
        )
    named = {k.replace(UNET, "decoder.unet.", 1): v for k, v in tensors.items() if not k.startswith(UNUSED)}
    return drop_cross_attention(merge_lora(named))


def add_lora(unet: Mapping[str, Tensor], lora: Mapping[str, Tensor], scale: float, where: str) -> dict[str, Tensor]:
    """Merge a LoRA into a UNet.

    Args:
        unet: tensors of a UNet after `fold_cross_attention`.
        lora: `PATH.lora_A.weight` and `PATH.lora_B.weight` for each layer; `unet.`, or PEFT's `base_model.model.` as in
            the published file of TLCM, may stand in front of a name, and `default.` in front of `weight`.
        scale: factor of the LoRA.
        where: what messages call the LoRA's file.

    Raises:
        UserError: there is no LoRA, or it is one of another network.
    """
    named = {}
    for name, tensor in lora.items():
        if ".attn2." not in name:  # the cross-attention is folded, so that there is no layer to change
            name = name.removeprefix("base_model.model.").removeprefix("unet.")
            named[re.sub(r"\.lora_([AB])\.weight$", r".lora_\1.default.weight", name)] = tensor
    if not any(".lora_A." in name for name in named):
        raise UserError(f"lora: {where} holds no LoRA; was it merged already?")
    layers = {name.partition(".lora_")[0] for name in named}
    unknown = sorted(layer for layer in layers if f"{layer}.weight" not in unet)
    if unknown:
        raise UserError(f"lora: {where} is of another network: this one has no layer {unknown[0]}")
    wrapped = {}  # the UNet as PEFT would name it
    for name, tensor in unet.items():
        path, _, kind = name.rpartition(".")
        wrapped[f"{path}.base_layer.{kind}" if path in layers else name] = tensor
    return merge_lora(wrapped | named, scale)


def assemble(
    encoder: Mapping[str, Tensor],
    vae: Mapping[str, Tensor],
    unet: Mapping[str, Tensor],
    lora: Mapping[str, Tensor] | None,
    controlnet: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Put a `LaCTok` together from the files that the trainers export.

    Args:
        encoder: a VQ tokenizer, of which encoder and codebook are taken.
        vae, unet, controlnet: the parts of these names.
        lora: a LoRA of the UNet, already multiplied by its scale, or None.

    Returns:
        All tensors in float32, under the names of `LaCTok`.
    """
    if lora is not None:
        unet = add_lora(unet, lora, 1.0, "the accelerator")
    whole = {k: v for k, v in encoder.items() if k.startswith(("encoder.", "quant_conv.", "quantize."))}
    for prefix, part in (("vae", vae), ("decoder.unet", unet), ("decoder.controlnet", controlnet)):
        for name, tensor in part.items():
            whole[f"{prefix}.{name}"] = tensor
    return {name: tensor.float() for name, tensor in whole.items()}
