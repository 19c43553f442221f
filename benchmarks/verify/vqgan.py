"""Kind `vqgan`: VQModel of taming-transformers, whose arithmetic is LlamaGen's under other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.vqgan import VQConfig, VQModel, from_taming
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # the kind's README


def config_of(values: dict[str, Any]) -> VQConfig:
    """Upstream's constructor arguments.

    `attn_resolutions` are of the *configured* resolution, halved a level; the size of the pictures plays no part.

    Raises:
        NotBuilt: `double_z`, which upstream's VQModel cannot run either: its quant_conv takes z_channels, not twice as
            many; or a resolution that does not halve evenly, where encoder and decoder would differ.
    """
    network = values["ddconfig"]
    levels, resolution = len(network["ch_mult"]), network["resolution"]
    if network["double_z"]:
        raise NotBuilt("double_z")
    if resolution % 2 ** (levels - 1):
        raise NotBuilt(f"resolution {resolution}, which cannot be halved {levels - 1} times")
    return VQConfig(
        channels=network["ch"],
        channel_mult=tuple(network["ch_mult"]),
        res_blocks=network["num_res_blocks"],
        z_channels=network["z_channels"],
        codebook_size=values["n_embed"],
        codebook_dim=values["embed_dim"],
        l2_norm=False,
        usage_buffer=False,
        attention=tuple(i for i in range(levels) if resolution >> i in network["attn_resolutions"]),
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    model = VQModel(config_of(config)).eval()
    load_strict(model, from_taming(weights_of(folder / "weights.safetensors")), checks.name)
    autoencoder(model, checks.tensors(folder / "io.safetensors"), checks, checks.atol(ATOL), checks.rtol(RTOL))


def autoencoder(model: VQModel, io: dict[str, torch.Tensor], checks: Checks, atol: float, rtol: float) -> None:
    """Every stored tensor of a VQ autoencoder's reference set, from the image to both decodings."""
    checks.skip("image", "the input")
    features = model.encoder(io["image"])
    checks.close("encoder_out", features, io["encoder_out"], atol, rtol)
    pre_quant = model.quant_conv(features)
    checks.close("pre_quant", pre_quant, io["pre_quant"], atol, rtol)
    ids = model.encode(io["image"])
    checks.close("indices", ids, io["indices"], 0)
    checks.close("indices_flat", ids.flatten(), io["indices_flat"], 0)
    checks.close("quantized", model.quantize.straight_through(pre_quant, ids), io["quantized"], atol, rtol)
    checks.close("codebook_entry", model.quantize.lookup(io["indices"]), io["codebook_entry"], atol, rtol)
    checks.close("decoded_from_code", model.decode(io["indices"]), io["decoded_from_code"], atol, rtol)
    checks.close("decoded_from_quant", model.decode_features(io["quantized"]), io["decoded_from_quant"], atol, rtol)
    checks.finish(io)
