"""Kind `seed_unclip`: SEED's diffusion decoder, with and without a negative embedding and guidance.

Which a set has stands in the tensors' names: `neg_g10_latent` is guided by 10 away from the negative embedding.
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

ATOL, RTOL = 6e-4, 1e-4  # the kind's README
SAMPLED = re.compile(r"((neg|noneg)_g([\d.]+))_latent")


def config_of(values: dict[str, Any], prompt: torch.Tensor) -> UnCLIPConfig:
    parts: dict[str, Any] = {
        name: {k: v for k, v in values[name].items() if not k.startswith("_") and k != "transformers_version"}
        for name in ("unet", "vae", "text", "scheduler")
    }
    return UnCLIPConfig(**parts, features=values["emb"], prompt=tuple(prompt.tolist()))


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
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

    def close(name: str, actual: torch.Tensor) -> None:
        checks.close(name, actual, io[name], checks.atol(ATOL), checks.rtol(RTOL))

    steps, embeds, draw = config["steps"], io["image_embeds"], io["hidden_noise_draw"]
    checks.close("timesteps", model.timesteps(steps)[1], io["timesteps"], 0)
    close("prompt_embeds", model.prompt_embeds())
    close("class_labels_cond", model.class_labels(embeds, draw))
    for found in filter(None, map(SAMPLED.fullmatch, io)):
        name, negative = found[1], io["negative_image_embeds"] if found[2] == "neg" else None
        latents = model.sample(embeds, io["latents"], draw, steps, float(found[3]), negative)
        close(f"{name}_latent", latents)
        close(f"{name}_np", model.decode_latents(latents).clamp(0, 1).permute(0, 2, 3, 1))
    checks.finish(io)
