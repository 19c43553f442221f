"""Kind `magvitv2`: Show-o's image tokenizer, of square images and others, and how photographs are brought to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok import images
from lactok.nn.magvit_v2 import MagvitConfig, MagvitV2
from lactok.weights import load_strict

ATOL, LEVELS = 1e-4, 1.0  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> MagvitConfig:
    """Return the network's configuration from a set's config.json."""
    encoder, decoder = values["encoder"], values["decoder"]
    return MagvitConfig(
        encoder["ch"],
        tuple(encoder["ch_mult"]),
        tuple(encoder["num_res_blocks"]),
        tuple(decoder["ch_mult"]),
        tuple(decoder["num_res_blocks"]),
        values["codebook_dim"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare features, ids, codes and decoded images of each stored image."""
    model = MagvitV2(config_of(config)).eval()
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in weights_of(folder / WEIGHTS).items()}
    for name in ("embedding", "power_vals"):  # computed here, stored there
        own = model.quantize.get_buffer(name)
        checks.close(f"quantize.{name}", own, tensors[f"quantize.{name}"], 0)
    load_strict(model, tensors, checks.name)
    io = checks.tensors(folder / "io.safetensors")
    for prefix in ("", "wide_"):
        image, ids = io[f"{prefix}image"], io[f"{prefix}ids"]
        checks.skip(f"{prefix}image", "an input")
        features = model.encoder(image)
        checks.close(f"{prefix}features", features, io[f"{prefix}features"], checks.atol(ATOL))
        checks.close(f"{prefix}ids", model.encode(image).flatten(1), ids, 0)
        grid = ids.unflatten(1, tuple(io[f"{prefix}features"].shape[2:]))
        codes = model.quantize.lookup(grid)
        checks.close(f"{prefix}codebook_entry", codes, io[f"{prefix}codebook_entry"], 0)
        checks.close(f"{prefix}quantized", codes, io[f"{prefix}quantized"], checks.atol(ATOL))
        out = model.decode(grid)
        checks.close(f"{prefix}decoded", out, io[f"{prefix}decoded"], checks.atol(ATOL))
        levels = images.to_uint8((out + 1) / 2, "truncate").permute(0, 2, 3, 1)
        checks.close(f"{prefix}decoded_u8", levels.int(), io[f"{prefix}decoded_u8"].int(), LEVELS)
    _check_preparation(config, io, checks)
    checks.finish(io)


WEIGHTS = "weights_fp16.safetensors"


def _check_preparation(config: dict[str, Any], io: dict[str, torch.Tensor], checks: Checks) -> None:
    """Compare how a photograph becomes the tokenizer's input."""
    checks.skip("preprocess_src_u8", "an input")
    photograph = Image.fromarray(io["preprocess_src_u8"].numpy())
    square = images.prepare(photograph, images.Prepare(config["preprocess_resolution"]))
    given = 2 * images.tokenizer_input(square, None, "bicubic-aa") - 1
    checks.close("preprocess_out", given, io["preprocess_out"], 1e-6)
