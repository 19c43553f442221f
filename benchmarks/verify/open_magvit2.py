"""Kind `open_magvit2`: SEED-Voken's Open-MAGVIT2, whose ids are signs; averaged weights where the set has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.open_magvit2 import OpenMagvit2, OpenMagvit2Config
from lactok.weights import load_strict
from lactok.weights.averages import averaged

ATOL, RTOL = 1e-4, 1e-4  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> OpenMagvit2Config:
    """Return the network's configuration from a set's config.json; its `resolution` is read by nothing there either.

    Raises:
        NotBuilt: `double_z`, or channels that are not the bits of an id.
    """
    shape = values["ddconfig"]
    bits = shape["z_channels"]
    if shape["double_z"]:
        raise NotBuilt("double_z")
    if (values["embed_dim"], values["n_embed"]) != (bits, 2**bits):
        raise NotBuilt(f"{values['n_embed']} codes of {values['embed_dim']} channels from {bits} features")
    return OpenMagvit2Config(shape["ch"], tuple(shape["ch_mult"]), shape["num_res_blocks"], bits)


def network(folder: Path, config: dict[str, Any], name: str) -> OpenMagvit2:
    """Return the network of a set with its weights."""
    model = OpenMagvit2(config_of(config)).eval()
    load_strict(model, averaged(weights_of(folder / "weights.safetensors")), name)
    return model


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the image to the decoded one."""
    model = network(folder, config, checks.name)
    io = checks.tensors(folder / "io.safetensors")
    close = checks.close_to(io, ATOL, RTOL)
    checks.skip("image", "the input")
    features = model.encoder(io["image"])
    close("encoder_out", features)
    ids = model.encode(io["image"])
    checks.close("indices", ids, io["indices"], 0)
    checks.close("indices_flat", ids.flatten(), io["indices_flat"], 0)
    codes = model.quantize.lookup(ids)
    close("quantized", features + (codes - features))  # the straight-through sum, whose rounding the set holds
    checks.close("codebook_entry", model.quantize.lookup(io["indices"]), io["codebook_entry"], 0)
    close("decoded_from_code", model.decode(io["indices"]))
    close("decoded_from_quant", model.decoder(io["quantized"]))
    checks.finish(io)
