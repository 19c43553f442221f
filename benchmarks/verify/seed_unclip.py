"""Kind `seed_unclip`: SEED's diffusion decoder, with and without a negative embedding, at several guidance scales.

The names of a set's tensors say which samples it has: `neg_g10_latent` has a negative embedding and guidance scale 10.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.unclip import UnCLIP, UnCLIPConfig
from lactok.nn.unclip_checkpoint import convert_text
from lactok.weights import load_strict

# as the READMEs of the kind's sets suggest
ATOL, RTOL = 6e-4, 1e-4
# name of the sample, negative embedding or none, guidance scale
SAMPLED = re.compile(r"((neg|noneg)_g([\d.]+))_latent")


def config_of(values: dict[str, Any], prompt: torch.Tensor) -> UnCLIPConfig:
    """Return the decoder's configuration from a set's config.json and the ids (L,) of its fixed prompt."""
    parts: dict[str, Any] = {}
    for name in ("unet", "vae", "text", "scheduler"):
        part = values[name]
        parts[name] = {k: v for k, v in part.items() if not k.startswith("_") and k != "transformers_version"}
    return UnCLIPConfig(**parts, features=values["emb"], prompt=tuple(prompt.tolist()))


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare the conditioning, and the latents and images of every stored sample."""
    io = checks.tensors(folder / "io.safetensors")
    model = UnCLIP(config_of(config, io["prompt_token_ids"][0])).eval()
    stored = weights_of(folder / "weights.safetensors")
    for name in ("unet", "vae", "text_encoder", "image_normalizer"):
        tensors = {k.removeprefix(f"{name}."): v for k, v in stored.items() if k.startswith(f"{name}.")}
        if name == "text_encoder":
            tensors = convert_text(tensors)
        load_strict(model.get_submodule(name), tensors, f"{checks.name} {name}")
    for name in ("image_embeds", "negative_image_embeds", "latents", "hidden_noise_draw", "prompt_token_ids"):
        checks.skip(name, "an input")

    close = checks.close_to(io, ATOL, RTOL)
    steps, embeds, noise = config["steps"], io["image_embeds"], io["hidden_noise_draw"]
    checks.close("timesteps", model.timesteps(steps)[1], io["timesteps"], 0)
    close("prompt_embeds", model.prompt_embeds())
    close("class_labels_cond", model.class_labels(embeds, noise))
    for name in io:
        found = SAMPLED.fullmatch(name)
        if found:
            sample, scale = found[1], float(found[3])
            negative = io["negative_image_embeds"] if found[2] == "neg" else None
            latents = model.sample(embeds, io["latents"], noise, steps, scale, negative)
            close(name, latents)
            close(f"{sample}_np", model.decode_latents(latents).clamp(0, 1).permute(0, 2, 3, 1))
    checks.finish(io)
