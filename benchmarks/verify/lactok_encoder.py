"""Kind `lactok_encoder`: LaCTok's encoder, which is LlamaGen's, on images resized to other sizes than 256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.lactok import resize
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.weights import load_strict

# absolute tolerances that the READMEs of the kind's sets suggest
RESIZED_ATOL = 1e-6
PRE_QUANT_ATOL = 2e-5
QUANT_ATOL = 1e-6
ENCODER_PREFIXES = ("encoder.", "quant_conv.", "quantize.embedding")


def config_of(values: dict[str, Any]) -> VQConfig:
    """Return the network's configuration from a set's config.json."""
    size, dim = values["codebook"]
    return VQConfig(
        channels=values["ch"],
        channel_mult=tuple(values["ch_mult"]),
        res_blocks=values["num_res_blocks"],
        z_channels=values["z"],
        codebook_size=size,
        codebook_dim=dim,
        usage_buffer=False,
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare the resized images, features, ids and codes at every size that the set has."""
    # weights.safetensors, weights_fp16.safetensors or a recipe
    stored = weights_of(next(p for p in folder.glob("weights*") if p.suffix in (".safetensors", ".json")))
    model = VQModel(config_of(config)).eval()
    own = model.state_dict()
    missing = [k for k in own if k.startswith(ENCODER_PREFIXES) and k not in stored]
    checks.equal("tensors missing in the set", missing, [], "none")
    # the set has no pixel decoder, so that part keeps its own weights
    load_strict(model, own | {k: v.float() for k, v in stored.items()}, checks.name)
    io = checks.tensors(folder / "tensors.safetensors")
    checks.skip("image", "the input")
    resized_atol = checks.atol(RESIZED_ATOL, "resized")
    pre_quant_atol = checks.atol(PRE_QUANT_ATOL, "pre_quant")
    quant_atol = checks.atol(QUANT_ATOL, "quant")
    threads = torch.get_num_threads()
    for size in sorted({int(k.split("/")[0]) for k in io if "/" in k}):
        torch.set_num_threads(1)  # torch's interpolation differs by 2e-6 when it is split over threads
        resized = resize(io["image"], size)
        torch.set_num_threads(threads)
        checks.close(f"{size}/resized", resized, io[f"{size}/resized"], resized_atol)
        features = model.encode_features(io[f"{size}/resized"])
        checks.close(f"{size}/pre_quant", features, io[f"{size}/pre_quant"], pre_quant_atol)
        ids = model.quantize.encode(features)
        checks.close(f"{size}/indices", ids, io[f"{size}/indices"], 0)
        quantized = model.quantize.straight_through(features, ids)
        checks.close(f"{size}/quant", quantized, io[f"{size}/quant"], quant_atol)
        checks.close(f"{size}/get_quant", model.quantize.lookup(ids), io[f"{size}/get_quant"], quant_atol)
        checks.skip(f"{size}/margin", "how clear the choice of ids is")
    checks.finish(io)
