"""Kind `seed`: SEED-2's quantizer, from the normalised image to the CLIP image embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.seed import SeedConfig, SeedQuantizer, clip_normalise
from lactok.weights import load_strict

ATOL, RTOL = 1e-3, 1e-4  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> SeedConfig:
    """Return the network's configuration from a set's config.json.

    Raises:
        NotBuilt: the set's variant of the network is not built here.
    """
    if values["l2_norm"] or values["heads_decode_blocks"] != values["heads_qformer"]:
        raise NotBuilt("codes of unit length, or decoding blocks with other heads than the Q-Former's")
    build = values["build"]
    vit = build["vit"]
    return SeedConfig(
        image_size=build["img_size"],
        patch=values["vit_patch_size"],
        vit=(vit["dim"], vit["depth"], vit["heads"]),
        vit_ratio=values["vit_mlp_ratio"],
        hidden=build["hidden"],
        layers=build["layers"],
        intermediate=build["inter"],
        heads=values["heads_qformer"],
        cross_every=values["cross_attention_freq"],
        queries=values["num_query_token"],
        codebook_size=build["n_embed"],
        code_dim=build["cbd"],
        features=build["feat"],
        depth=build["depth"],
        positions=values["max_position_embeddings"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the normalised image to the CLIP embedding."""
    model = SeedQuantizer(config_of(config)).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")

    close = checks.close_to(io, ATOL, RTOL)
    checks.skip("random_ids", "an input")
    checks.skip("image_01", "an input")
    close("image_normalized", clip_normalise(io["image_01"]))
    features = model.visual_encoder(io["image_normalized"])
    close("vit_out", features)
    features = model.ln_vision(features)
    close("ln_vision_out", features)
    close("qformer_out", model.Qformer(model.query_tokens.expand(len(features), -1, -1), features))
    close("encode_task_out_pre_quant", model.encode_features(io["image_normalized"]))
    checks.close("indices", model.encode(io["image_normalized"]), io["indices"], 0)
    close("quantized", model.lookup(io["indices"]))
    close("query_output_up", model.decode_task_layer(io["quantized"]))
    close("image_embeds", model.image_embeds(io["indices"]))
    close("image_embeds_random_ids", model.image_embeds(io["random_ids"]))
    checks.finish(io)
