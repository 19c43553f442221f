"""Kind `hart_t2i`: HART from a prompt's features to the image, scale by scale, with the stored draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.multiscale_vq import PREFIX, config_of
from benchmarks.verify.recipe import weights_of
from lactok.nn.hart import HART, HARTConfig, HARTSampling, HARTStep, generate
from lactok.nn.hart_checkpoint import config_of as hart_shape
from lactok.nn.hart_checkpoint import not_built
from lactok.nn.hart_diffusion import timesteps
from lactok.nn.multiscale_vq import MultiScaleVQ
from lactok.weights import load_strict

# as the READMEs of the kind's sets suggest
HIDDEN, GUIDED, CODES, IMAGES = 2e-4, 1e-3, 1e-3, 3e-3


def shape_of(values: dict[str, Any]) -> HARTConfig:
    """Return the network's configuration from a set's config.json.

    Raises:
        NotBuilt: the set's variant of the network is not built here.
    """
    llm, vae = values["llm"], values["vae"]
    if other := not_built(llm):
        raise NotBuilt(other)
    return hart_shape(llm, vae["z_channels"], vae["vocab_size"])


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare each run: hidden states, logits, ids, maps of codes, the rest, and the image."""
    shape = shape_of(config)
    model = HART(shape).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    tokenizer = MultiScaleVQ(config_of(config["vae"], config["vae"])).eval()
    stored = weights_of(folder / "weights_vae_fp16.safetensors")
    tensors = {k.removeprefix(PREFIX): v.float() for k, v in stored.items()}
    encoder = {k: v for k, v in tokenizer.state_dict().items() if k.startswith(("encoder.", "quant_conv."))}
    load_strict(tokenizer, encoder | tensors, checks.name)  # the set has no encoder
    io = checks.tensors(folder / "io.safetensors")
    for name in ("context", "context_mask", "context_position_ids"):
        checks.skip(name, "an input")
    checks.equal("timestep_map", timesteps(shape.diffusion_steps), config["timestep_map"])
    for name, values in config["runs"].items():
        _check_run(name, values, model, tokenizer, io, checks)
    checks.finish(io)


def _check_run(
    name: str, values: dict[str, Any], model: HART, tokenizer: MultiScaleVQ, io: dict[str, Tensor], checks: Checks
) -> None:
    """Compare one run."""
    steps: list[HARTStep] = []
    rests: list[tuple[Tensor, Tensor]] = []
    starts = [sum(side**2 for side in model.config.sides[:k]) for k in range(len(model.config.sides) + 1)]

    def stored_draws(use: str, shape: tuple[int, ...]) -> Tensor:
        kind, which = use.split(" ")
        if kind == "rest":
            noise = io[f"{name}/diff/noise_start"] if which == "start" else io[f"{name}/diff/noise_steps"][int(which)]
            return noise.unflatten(0, (-1, shape[0]))
        scales = io[f"{name}/{'q_tokens' if kind == 'id' else 'e_smooth'}"]
        return scales[:, starts[int(which)] : starts[int(which) + 1]]

    how = HARTSampling(values["cfg"], values["more_smooth"])
    features = generate(
        model,
        tokenizer,
        io["context"],
        io["context_position_ids"],
        stored_draws,
        how,
        steps.append,
        lambda condition, rest: rests.append((condition, rest)),
    )
    for draws in ("q_tokens", "e_smooth", "diff/noise_start", "diff/noise_steps"):
        if f"{name}/{draws}" in io:
            checks.skip(f"{name}/{draws}", "the draws, an input")

    def close(part: str, actual: Tensor, atol: float) -> None:
        checks.close(f"{name}/{part}", actual, io[f"{name}/{part}"], atol)

    close("context_hidden", steps[0].hidden, HIDDEN)
    close("raw_logits_last", steps[-1].raw, HIDDEN)
    close("guided_logits", torch.cat([s.logits for s in steps], 1), GUIDED)
    close("ids", torch.cat([s.ids for s in steps], 1), 0)
    close("h", torch.cat([s.codes for s in steps[:-1]], 1), CODES)
    close("next_input", torch.cat([s.given for s in steps if s.given is not None], 1), CODES)
    (condition, rest) = rests[0]
    close("diff/cond", condition, GUIDED)
    close("diff/residual", rest, IMAGES)
    close("fhat", features, IMAGES)
    close("image", (tokenizer.decode_features(features).clamp(-1, 1) + 1) / 2, IMAGES)
