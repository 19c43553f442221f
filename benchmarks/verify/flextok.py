"""Kind `flextok`: the register encoder, FSQ and the flow decoder with both guidances, VAE included.

Which velocities and samplings a set has, and at what times, scales and lengths, stands in the tensors' names:
`velocity_t0.6_cond_trunc`, `latents_apg7.5_one_step`.
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

ATOL, RTOL = 1e-4, 1e-4  # the kind's README
VELOCITY = re.compile(r"velocity_t([\d.]+)_(cond|cond_trunc|cond_mixed_len|uncond)")
SAMPLED = re.compile(r"latents_((cfg|apg)([\d.]+)_(full|trunc|one_step))")


def config_of(values: dict[str, Any]) -> FlexTokConfig:
    """Upstream's configuration and that of the VAE inside it."""
    vae = values["vae_base_cfg"]
    return replace(
        read_config(values["hydra_config"]),
        vae_channels=tuple(vae["block_out_channels"]),
        vae_layers=vae["layers_per_block"],
        vae_groups=vae["norm_num_groups"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    model = FlexTok(config_of(config)).eval()
    load_strict(model, convert(weights_of(folder / "weights.safetensors")), checks.name)
    io = checks.tensors(folder / "io.safetensors")

    def close(name: str, actual: Tensor) -> None:
        checks.close(name, actual, io[name], checks.atol(ATOL), checks.rtol(RTOL))

    checks.skip("image", "the input")
    checks.skip("noise", "an input")
    mean, deviation = model.posterior(io["image"])
    close("vae_mean", mean)
    close("vae_std", deviation)
    latents = model.latents(io["image"])
    close("vae_latents", latents)
    close("vae_decode_of_clean_latents", model.decode_latents(io["vae_latents"]))
    close("encoder_out_pre_fsq", model.encoder(latents))
    checks.close("tokens", model.encode(io["image"]), io["tokens"], 0)
    close("quantized", model.fsq.lookup(io["tokens"]))
    _velocities(model, io, config["keep_k"], close)
    _samples(model, io, config, close)
    checks.finish(io)


def _velocities(model: FlexTok, io: dict[str, Tensor], keep: int, close: Callable[[str, Tensor], None]) -> None:
    decoder, codes = model.decoder, model.fsq.lookup(io["tokens"])
    batch = len(codes)
    lengths = torch.tensor([keep, 2 * keep, 1])[:batch]  # the kind's README
    conditions = {
        "cond": decoder.condition(codes),
        "cond_trunc": decoder.condition(codes[:, :keep]),
        "cond_mixed_len": decoder.condition(codes, lengths),
        "uncond": decoder.unconditional(batch),
    }
    for name in io:
        if found := VELOCITY.fullmatch(name):
            (at,) = decoder.modulations(torch.tensor([float(found[1])]))
            close(name, decoder(io["noise"], at, conditions[found[2]]))


def _samples(
    model: FlexTok, io: dict[str, Tensor], config: dict[str, Any], close: Callable[[str, Tensor], None]
) -> None:
    if config["guidance"]["apg_eta"]:
        raise NotBuilt("adaptive projected guidance with eta other than 0")
    momentum, threshold = (config["guidance"][key] for key in ("apg_momentum", "apg_norm_threshold"))
    for name in io:
        if found := SAMPLED.fullmatch(name):
            run, guider, scale, length = found[1], found[2], float(found[3]), found[4]
            guidance = NormGuidance(scale, momentum, threshold) if guider == "apg" else PlainGuidance(scale)
            ids = io["tokens"][:, : config["keep_k"]] if length == "trunc" else io["tokens"]
            steps = 1 if length == "one_step" else config["timesteps"]
            sampled = model.sample(ids, io["noise"], steps, guidance)
            close(name, sampled)
            close(f"image_{run}", model.decode_latents(sampled))
