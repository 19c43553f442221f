"""Kind `flextok`: FlexTok's VAE, its register encoder, FSQ, and the flow decoder with both kinds of guidance.

The names of a set's tensors say which velocities and samples it has, and at which times, guidance scales and numbers of
tokens: `velocity_t0.6_cond_trunc`, `latents_apg7.5_one_step`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.flextok import FlexTok, FlexTokConfig, NormGuidance, PlainGuidance
from lactok.nn.flextok_checkpoint import convert, read_config
from lactok.weights import load_strict

# as the READMEs of the kind's sets suggest
ATOL, RTOL = 1e-4, 1e-4
# time, condition
VELOCITY = re.compile(r"velocity_t([\d.]+)_(cond|cond_trunc|cond_mixed_len|uncond)")
# name of the sample, guidance, guidance scale, tokens or steps
SAMPLED = re.compile(r"latents_((cfg|apg)([\d.]+)_(full|trunc|one_step))")


def config_of(values: dict[str, Any]) -> FlexTokConfig:
    """Return the network's configuration from a set's config.json, which has the official one and that of the VAE."""
    vae = values["vae_base_cfg"]
    return replace(
        read_config(values["hydra_config"]),
        vae_channels=tuple(vae["block_out_channels"]),
        vae_layers=vae["layers_per_block"],
        vae_groups=vae["norm_num_groups"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the image to both kinds of guided samples."""
    model = FlexTok(config_of(config)).eval()
    load_strict(model, convert(weights_of(folder / "weights.safetensors")), checks.name)
    io = checks.tensors(folder / "io.safetensors")

    close = checks.close_to(io, ATOL, RTOL)
    checks.skip("image", "the input")
    checks.skip("noise", "an input")
    mean, std = model.posterior(io["image"])
    close("vae_mean", mean)
    close("vae_std", std)
    latents = model.latents(io["image"])
    close("vae_latents", latents)
    close("vae_decode_of_clean_latents", model.decode_latents(io["vae_latents"]))
    close("encoder_out_pre_fsq", model.encoder(latents))
    checks.close("tokens", model.encode(io["image"]), io["tokens"], 0)
    close("quantized", model.fsq.lookup(io["tokens"]))
    _check_velocities(model, io, config["keep_k"], close)
    _check_samples(model, io, config, close)
    checks.finish(io)


def _check_velocities(model: FlexTok, io: dict[str, Tensor], keep: int, close: Callable[[str, Tensor], None]) -> None:
    """Compare the decoder's velocities at the stored noise, under every condition; `keep` tokens are a truncation."""
    decoder, codes = model.decoder, model.fsq.lookup(io["tokens"])
    batch = len(codes)
    lengths = torch.tensor([keep, 2 * keep, 1])[:batch]  # as the READMEs of the kind's sets say
    conditions = {
        "cond": decoder.condition(codes),
        "cond_trunc": decoder.condition(codes[:, :keep]),
        "cond_mixed_len": decoder.condition(codes, lengths),
        "uncond": decoder.unconditional(batch),
    }
    for name in io:
        found = VELOCITY.fullmatch(name)
        if found:
            time, condition = float(found[1]), found[2]
            (modulation,) = decoder.modulations(torch.tensor([time]))
            close(name, decoder(io["noise"], modulation, conditions[condition]))


def _check_samples(
    model: FlexTok, io: dict[str, Tensor], config: dict[str, Any], close: Callable[[str, Tensor], None]
) -> None:
    """Compare the latents that the sampler makes from the stored noise, and their images.

    Raises:
        NotBuilt: the set's guidance is not built here.
    """
    if config["guidance"]["apg_eta"]:
        raise NotBuilt("adaptive projected guidance with eta other than 0")
    momentum, threshold = config["guidance"]["apg_momentum"], config["guidance"]["apg_norm_threshold"]
    for name in io:
        found = SAMPLED.fullmatch(name)
        if found:
            sample, kind, scale, variant = found[1], found[2], float(found[3]), found[4]
            guidance = NormGuidance(scale, momentum, threshold) if kind == "apg" else PlainGuidance(scale)
            ids = io["tokens"][:, : config["keep_k"]] if variant == "trunc" else io["tokens"]
            steps = 1 if variant == "one_step" else config["timesteps"]
            latents = model.sample(ids, io["noise"], steps, guidance)
            close(name, latents)
            close(f"image_{sample}", model.decode_latents(latents))
