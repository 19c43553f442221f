"""Kind `flextok`: the register encoder, FSQ and the flow decoder with both guidances, VAE included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.verify.checks import Checks
from lactok.nn.flextok import FlexTok, NormGuidance, PlainGuidance
from lactok.nn.flextok_checkpoint import convert, read_config
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # the sets' READMEs


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    vae = config["vae_base_cfg"]
    shape = read_config(config["hydra_config"])
    shape = replace(shape, vae_channels=tuple(vae["block_out_channels"]), vae_layers=vae["layers_per_block"])
    model = FlexTok(shape).eval()
    load_strict(model, convert(load_file(folder / "weights.safetensors")), checks.name)
    io = load_file(folder / "io.safetensors")

    def close(name: str, actual: torch.Tensor) -> None:
        checks.close(name, actual, io[name], ATOL, RTOL)

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
    tokens, keep, steps = io["tokens"], config["keep_k"], config["timesteps"]
    runs: dict[str, tuple[torch.Tensor, int, NormGuidance | PlainGuidance]] = {
        "cfg1_full": (tokens, steps, PlainGuidance(1.0)),
        "cfg3_full": (tokens, steps, PlainGuidance(3.0)),
        "apg7.5_full": (tokens, steps, NormGuidance(7.5)),
        "apg7.5_trunc": (tokens[:, :keep], steps, NormGuidance(7.5)),
        "apg7.5_one_step": (tokens, 1, NormGuidance(7.5)),
    }
    for name, (ids, count, guidance) in runs.items():
        sampled = model.sample(ids, io["noise"], count, guidance)
        close(f"latents_{name}", sampled)
        close(f"image_{name}", model.decode_latents(sampled))
    checks.finish(io)


def _velocities(model: FlexTok, io: dict[str, torch.Tensor], keep: int, close: Any) -> None:
    decoder, codes = model.decoder, model.fsq.lookup(io["tokens"])
    at, end = decoder.modulations(torch.tensor([0.6, 1.0]))
    batch = len(codes)
    lengths = torch.tensor([keep, 2 * keep, 1])[:batch]
    close("velocity_t0.6_cond", decoder(io["noise"], at, decoder.condition(codes)))
    close("velocity_t1.0_cond", decoder(io["noise"], end, decoder.condition(codes)))
    close("velocity_t0.6_cond_trunc", decoder(io["noise"], at, decoder.condition(codes[:, :keep])))
    close("velocity_t0.6_cond_mixed_len", decoder(io["noise"], at, decoder.condition(codes, lengths)))
    close("velocity_t0.6_uncond", decoder(io["noise"], at, decoder.unconditional(batch)))
