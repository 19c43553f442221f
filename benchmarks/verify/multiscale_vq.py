"""Kinds `var_vqvae` and `hart_tokenizer`: VAR's multi-scale tokenizer, and HART's with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ, Size
from lactok.weights import load_strict

ATOL, RTOL, IMAGES, COMMITMENT = 1e-4, 1e-4, 3e-4, 0.25  # as the READMEs of the kinds' sets say
PREFIX = "vae."


def config_of(values: dict[str, Any], shape: dict[str, Any]) -> MultiScaleConfig:
    """Return the network's configuration from a set's config.json.

    Args:
        values: what says codes and scales.
        shape: what says channels and blocks; may be the same.
    """
    return MultiScaleConfig(
        channels=shape["ch"],
        channel_mult=tuple(shape["ch_mult"]),
        res_blocks=shape.get("num_res_blocks", 2),
        z_channels=values["z_channels"],
        codebook_size=values["vocab_size"],
        sides=tuple(values["v_patch_nums"]),
        kernel=values["quant_conv_ks"],
        refinement=values["quant_resi"],
        convolutions=values["share_quant_resi"],
        by_direction=values.get("using_znorm", False),
    )


def joined(ids: Sequence[Tensor]) -> Tensor:
    """Ids of each scale (B, p, q) -> in one row (B, L)."""
    return torch.cat([found.flatten(1) for found in ids], 1)


def next_inputs(model: MultiScaleVQ, totals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
    """Return the sum after each scale but the last, shrunk to the next scale's size, (B, C, p, q)."""
    return [model.quantize.pooled(total, size) for total, size in zip(totals[: len(sizes) - 1], sizes[1:], strict=True)]


@torch.inference_mode()
def replay_var(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare features, ids, the sum after each scale and the images made of them, square or not."""
    model = MultiScaleVQ(config_of(config, config["shrink"])).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")
    close = checks.close_to(io, ATOL, RTOL)
    checks.skip("image", "an input")
    checks.skip("wide_image", "an input")
    close("encoder_out", model.encoder(io["image"]))
    features = model.features(io["image"])
    close("pre_quant", features)
    ids, totals, _ = model.quantize.encode_scales(features, model.config.sizes)
    checks.close("indices", joined(ids), io["indices"], 0)
    close("f_hat_scales", torch.stack(totals, 1))
    close("f_hat", totals[-1])
    pictures = [model.decode_features(total).clamp(-1, 1) for total in totals]
    close("reconstructed_scales", torch.stack(pictures, 1))
    close("decoded_unclamped", model.decode_features(io["f_hat"]))
    close("decoded_from_fhat", model.decode_features(io["f_hat"]).clamp(-1, 1))
    close("decoded_from_ids", model.decode(io["indices"]).clamp(-1, 1))
    maps = [model.quantize.lookup(found) for found in model.split(io["indices"])]
    sums = model.quantize.sums(maps, model.config.sizes)
    close("f_hat_from_ids", sums[-1])
    inputs = next_inputs(model, sums, model.config.sizes)
    close("var_input", torch.cat([x.flatten(2) for x in inputs], 2).transpose(1, 2))
    wide = [(height, width) for height, width in config["wide_patch_nums"]]
    ids, totals, _ = model.quantize.encode_scales(model.features(io["wide_image"]), wide)
    checks.close("wide_indices", joined(ids), io["wide_indices"], 0)
    close("wide_reconstructed", model.decode_features(totals[-1]).clamp(-1, 1))
    checks.finish(io)


@torch.inference_mode()
def replay_hart(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare features, ids, sums, the rest, the training forward, and the images made of all of them."""
    model = MultiScaleVQ(config_of(config, config)).eval()
    weights = weights_of(folder / "weights_fp16.safetensors")
    load_strict(model, {k.removeprefix(PREFIX): v.float() for k, v in weights.items()}, checks.name)
    io = checks.tensors(folder / "io.safetensors")
    quantize, sizes = model.quantize, model.config.sizes
    close, image = checks.close_to(io, ATOL, 0), checks.close_to(io, IMAGES, 0)
    checks.skip("image", "an input")
    close("encoder_out", model.encoder(io["image"]))
    features = model.features(io["image"])
    close("features", features)
    ids, totals, rest = quantize.encode_scales(features, sizes)
    for name in ("var/ids", "hybrid/ids", "train/ids"):
        checks.close(name, joined(ids), io[name], 0)
    close("var/fhat_first", totals[0])
    close("var/fhat_last", totals[-1])
    close("train/fhat_discrete", totals[-1])
    image("var/image", model.decode_features(totals[-1]).clamp(-1, 1))
    image("var/image_from_ids", model.decode(io["var/ids"]).clamp(-1, 1))
    image("train/out_discrete", model.decode_features(totals[-1]))
    image("train/out_continuous", model.decode_features(features))
    losses = [F.mse_loss(total, features) * (1 + COMMITMENT) for total in totals]
    close("train/vq_loss", torch.stack(losses).mean()[None])
    close("hybrid/frest", rest.flatten(2).transpose(1, 2))
    maps = [quantize.lookup(found) for found in model.split(io["hybrid/ids"])]
    sums = quantize.sums(maps[:-1], sizes)
    inputs = next_inputs(model, sums, sizes)
    close("hybrid/var_input", torch.cat([x.flatten(2) for x in inputs], 2).transpose(1, 2))
    for number, given in enumerate(inputs):
        close(f"accumulate/next_{number}", given)
    close("accumulate/fhat_before_last", sums[-1])
    final = sums[-1] + io["hybrid/frest"].transpose(1, 2).unflatten(2, sizes[-1])
    close("accumulate/fhat_final", final)
    image("accumulate/image", model.decode_features(final).clamp(-1, 1))
    checks.finish(io)
