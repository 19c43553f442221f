"""Kind `vqgan`: the VQModel of taming-transformers, which computes what LlamaGen's does under other weight names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn import taming_config
from lactok.nn.vqgan import VQConfig, VQModel, from_taming
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> VQConfig:
    """Return the network's configuration from a set's config.json, which has the official constructor's arguments.

    Raises:
        NotBuilt: the arguments are of a network that `lactok.nn.taming_config` refuses.
    """
    where = "config.json"
    try:
        ddconfig = {"in_channels": 3, "out_ch": 3} | values["ddconfig"]  # which a set may leave out
        return taming_config.shape(ddconfig, values["n_embed"], values["embed_dim"], where)[0]
    except taming_config.Refused as error:
        raise NotBuilt(str(error).removeprefix(f"{where}: ")) from None


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the image to the decoded one."""
    model = VQModel(config_of(config)).eval()
    load_strict(model, from_taming(weights_of(folder / "weights.safetensors")), checks.name)
    check_autoencoder(model, checks.tensors(folder / "io.safetensors"), checks, checks.atol(ATOL), checks.rtol(RTOL))


def check_autoencoder(model: VQModel, io: dict[str, torch.Tensor], checks: Checks, atol: float, rtol: float) -> None:
    """Compare every output of a VQ autoencoder's reference set, from the image to the images decoded from it."""
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
