"""Kind `cosmos_di`: Cosmos' discrete image tokenizers, of any shape of image, compression and way of patching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.config import build
from lactok.nn.cosmos import Cosmos, CosmosConfig, convert, to_patches
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # as the READMEs of the kind's sets suggest
# what the official constructors take and is built here in one way alone
ONLY = {"quantizer": "FSQ", "encoder": "Default", "decoder": "Default", "in_channels": 3, "out_channels": 3}


def config_of(values: dict[str, Any]) -> CosmosConfig:
    """Return the network's configuration from a set's config.json, which has the official constructor's arguments.

    Raises:
        NotBuilt: another quantizer, encoder, decoder or group norm than the published tokenizers have.
    """
    given = values["config"]
    for key, built in ONLY.items():
        if given.get(key, built) != built:
            raise NotBuilt(f"{key} {given[key]!r}; only {built!r} is built here")
    if values.get("num_groups", 32) != 32:
        raise NotBuilt(f"group norms of {values['num_groups']} groups")
    if given["embedding_dim"] != len(given["levels"]):
        raise NotBuilt(f"embedding_dim {given['embedding_dim']} of {len(given['levels'])} levels")
    shape = {
        "channels": given["channels"],
        "channel_mult": given["channels_mult"],
        "res_blocks": given["num_res_blocks"],
        "z_channels": given["z_channels"],
        "z_factor": given.get("z_factor", 1),
        "levels": given["levels"],
        "downsampling": given["spatial_compression"],
        "patch": given["patch_size"],
        "patching": given["patch_method"],
        "attention": given["attn_resolutions"],
        "resolution": given["resolution"],
    }
    return build(CosmosConfig, shape, "config.json")


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the patches to the images decoded from ids."""
    model = Cosmos(config_of(config)).eval()
    load_strict(model, convert(weights_of(folder / "weights.safetensors")), checks.name)
    basis = model.quantize.basis.tolist()
    checks.equal("basis", basis, config.get("basis", basis))
    io = checks.tensors(folder / "io.safetensors")
    checks.skip("image", "the input")
    close = checks.close_to(io, ATOL, RTOL)
    close("patched", to_patches(io["image"], model.config))
    close("encoder_out", model.encoder(io["image"]))
    features = model.encode_features(io["image"])
    close("pre_quant", features)
    close("bounded", model.quantize.bound(features.movedim(1, -1)).movedim(-1, 1))
    ids = model.encode(io["image"])
    checks.close("indices", ids, io["indices"], 0)
    close("codes", model.quantize.straight_through(features.movedim(1, -1)).movedim(-1, 1))
    close("codes_from_indices", model.lookup(io["indices"].long()))
    close("decoder_patches", model.decoder(model.post_quant_conv(io["codes"])))
    close("decoded", model.decode_codes(io["codes"]))
    close("decoded_from_indices", model.decode(io["indices"].long()))
    checks.finish(io)
