"""Kind `showo_t2i`: Show-o's prompts, masks, language model and sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.show_o import ShowO, ShowOConfig, ShowOSampling, ShowOStep, generate, prompt_ids, visible
from lactok.weights import load_strict

ATOL, GUIDED_ATOL = 1e-4, 1e-3  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> ShowOConfig:
    """Return the network's configuration from a set's config.json."""
    phi = values["phi"]
    return ShowOConfig(
        width=phi["hidden_size"],
        layers=phi["num_hidden_layers"],
        heads=phi["num_attention_heads"],
        hidden=phi["intermediate_size"],
        rotary=phi["partial_rotary_factor"],
        text_vocabulary=values["llm_vocab_size"],
        end=values["special_ids"]["<|eot|>"],
        text_tokens=values["max_seq_length"] + 1,
        image_tokens=values["num_vq_tokens"],
        codebook_size=values["codebook_size"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare prompts, masks and logits, and each run step by step with the stored draws."""
    shape = config_of(config)
    model = ShowO(shape).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")
    for name, number in config["special_ids"].items():
        own = shape.end if name in ("<|sot|>", "<|eot|>") else shape.special(name.replace("<|pad|>", "[PAD]"))
        checks.equal(f"id of {name}", own, number)
    checks.equal("id of the mask", shape.mask_id, config["mask_token_id"])
    prompts = torch.stack([prompt_ids(text, shape) for text in config["texts"]])
    empty = prompt_ids([], shape)
    checks.close("prompt/input_ids", prompts, io["prompt/input_ids"], 0)
    checks.close("prompt/attention_mask", visible(prompts, shape).int(), io["prompt/attention_mask"].int(), 0)
    checks.close("prompt/uncond_ids", empty[None], io["prompt/uncond_ids"], 0)
    mask = visible(empty[None], shape).int()
    checks.close("prompt/uncond_attention_mask", mask, io["prompt/uncond_attention_mask"].int(), 0)
    checks.skip("prompt/returned_mask", "a slip of the original that nothing uses")
    checks.skip("forward/input_ids", "an input")
    checks.close("forward/logits", model(io["forward/input_ids"]), io["forward/logits"], checks.atol(ATOL))
    for name, values in config["runs"].items():
        _check_run(name, values, model, prompts[config["batch"]].clone(), empty, io, checks)
    checks.finish(io)


def _check_run(
    name: str,
    values: dict[str, Any],
    model: ShowO,
    prompts: Tensor,
    empty: Tensor,
    io: dict[str, Tensor],
    checks: Checks,
) -> None:
    """Compare a run: what each step saw, predicted and masked again, and the ids at the end."""
    config = model.config
    if values.get("known"):
        checks.skip(f"{name}/known_ids", "an input")
        known = io[f"{name}/known_ids"]
        prompts[:, config.image] = torch.where(known < 0, config.mask_id, known + config.first_code)
    steps: list[ShowOStep] = []

    def stored_draws(use: str, _: tuple[int, ...]) -> Tensor:
        kind, step = use.split(" ")
        return io[f"{name}/{'q_tokens' if kind == 'exponential' else 'u_confidence'}"][int(step)]

    how = ShowOSampling(values["timesteps"], values["guidance_scale"], values["temperature"], values["schedule"])
    ids = generate(model, prompts, empty, stored_draws, how, steps.append)
    for draws in ("q_tokens", "u_confidence"):
        checks.skip(f"{name}/{draws}", "the draws, an input")
    checks.close(f"{name}/ids_in", torch.stack([s.given for s in steps]), io[f"{name}/ids_in"], 0)
    logits = torch.stack([s.logits for s in steps])
    checks.close(f"{name}/guided_logits", logits, io[f"{name}/guided_logits"], GUIDED_ATOL)
    chosen = torch.stack([s.chosen for s in steps])
    checks.close(f"{name}/selected_probs", chosen, io[f"{name}/selected_probs"], checks.atol(ATOL))
    checks.close(f"{name}/mask_len", torch.stack([s.counts for s in steps]), io[f"{name}/mask_len"], 0)
    masking = torch.stack([s.masking for s in steps])
    checks.close(f"{name}/masking", masking.int(), io[f"{name}/masking"].int(), 0)
    temperatures = torch.tensor([s.temperature for s in steps])
    checks.close(f"{name}/temperature", temperatures, io[f"{name}/temperature"], 1e-6)
    checks.close(f"{name}/ids_final", ids, io[f"{name}/ids_final"], 0)
    last = (ids + config.first_code).masked_fill(steps[-1].masking, config.mask_id)
    prompts[:, config.image] = last
    checks.close(f"{name}/input_ids_after", prompts, io[f"{name}/input_ids_after"], 0)
