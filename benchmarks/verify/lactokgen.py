"""Kind `lactokgen`: LaCTokGen from a caption's features to ids, its training loss, and the picture of its ids.

The picture is decoded by the network of the set `lactok` that lies beside this one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify import lactok_decoder
from benchmarks.verify.checks import Checks
from benchmarks.verify.llamagen_gpt import teacher_forced
from benchmarks.verify.recipe import weights_of
from lactok.nn import samplers
from lactok.nn.gpt import GPT, GPTConfig, left_padded, visible
from lactok.nn.token_sampling import Sampling, filtered
from lactok.weights import load_strict

# as the READMEs of the kind's sets suggest
LOGITS, PROBABILITIES, LATENTS, LEVELS, LOSS_RTOL = 1e-4, 2e-4, 1e-4, 1.0, 1e-5
GRADIENT_RTOL = 1e-4
SCALE = 0.8  # of LaCTok's conditioning in the authors' text-to-image demo


def config_of(values: dict[str, Any], weights: dict[str, Tensor]) -> GPTConfig:
    """Return the network's configuration from a set's config.json; the SwiGLU's width is that of its weights."""
    return GPTConfig(
        width=values["dim"],
        layers=values["n_layer"],
        heads=values["n_head"],
        hidden=len(weights["layers.0.feed_forward.w1.weight"]),
        codebook_size=values["vocab"],
        caption_width=values["caption_dim"],
        text_tokens=values["cls"],
        image_tokens=values["grid"] ** 2,
    )


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare padding, masks, rotary positions, guided logits, filters, greedy ids, training and the picture."""
    weights = {name: tensor.float() for name, tensor in weights_of(folder / "weights_fp16.safetensors").items()}
    model = GPT(config_of(config, weights)).eval()
    load_strict(model, weights, checks.name)
    io = checks.tensors(folder / "tensors.safetensors")
    for name in ("in/caption_embs", "in/emb_masks", "train/z_indices", "train/valid", "sample/tokens"):
        checks.skip(name, "an input")
    checks.close("rope/freqs_cis", model.table, io["rope/freqs_cis"], 1e-6)
    features, mask = left_padded(io["in/caption_embs"], io["in/emb_masks"])
    checks.close("leftpad/c_indices", features, io["leftpad/c_indices"], 0)
    checks.close("leftpad/c_emb_masks", mask, io["leftpad/c_emb_masks"], 0)
    _check_mask(model.config, mask, io, checks)
    with torch.inference_mode():
        _check_generation(model, features, mask, config, io, checks)
        _check_picture(folder, io, checks)
    _check_training(model, features, mask, config, io, checks)
    checks.finish(io)


def _check_mask(config: GPTConfig, mask: Tensor, io: dict[str, Tensor], checks: Checks) -> None:
    """Compare which position sees which; the official mask is longer, for a cache whose length is a multiple of 8."""
    allowed = visible(mask, config, len(mask)).repeat(2, 1, 1)
    stored = io["mask/causal_mask"]
    n = config.length
    checks.close("mask/causal_mask", allowed.int(), stored[:, :n, :n].int(), 0)
    checks.equal("mask/causal_mask, rows of ids, columns after them", int(stored[:, :n, n:].sum()), 0, "none seen")


def _check_generation(
    model: GPT, features: Tensor, mask: Tensor, config: dict[str, Any], io: dict[str, Tensor], checks: Checks
) -> None:
    """Compare logits and probabilities where the stored ids were chosen, and the ids that follow from them."""
    asked = Sampling(config["cfg"], config["temp"], config["topk"], config["topp"])
    runs = {"sample": asked, "greedy": Sampling(config["cfg"], 1, 0, 1), "nocfg": Sampling(1, 1, config["topk"], 1)}
    for run, how in runs.items():
        ids = io[f"{run}/tokens"].long()
        steps = teacher_forced(model, features, mask, how.guidance, ids)
        logits = torch.stack([step.logits for step in steps], 1)
        checks.close(f"{run}/cfg_logits", logits, io[f"{run}/cfg_logits"], checks.atol(LOGITS))
        probabilities = torch.stack([filtered(step.logits, how) for step in steps], 1)
        checks.close(f"{run}/probs", probabilities, io[f"{run}/probs"], checks.atol(PROBABILITIES, "probabilities"))
        if run == "greedy":
            checks.close("greedy/tokens", probabilities.argmax(-1), ids, 0)
        else:
            checks.skip(f"{run}/tokens", "drawn by the official generator; they are fed back")


def _check_training(
    model: GPT, features: Tensor, mask: Tensor, config: dict[str, Any], io: dict[str, Tensor], checks: Checks
) -> None:
    """Compare the mask, the logits, the loss and the norm of every gradient of one step of training."""
    allowed = visible(mask, model.config, len(mask))
    checks.close("train/attn_mask", allowed.int(), io["train/attn_mask"].int(), 0)
    ids = io["train/z_indices"].long()
    logits = model(features, ids[:, :-1], allowed)[:, model.config.text_tokens - 1 :]
    checks.close("train/logits", logits, io["train/logits"], checks.atol(LOGITS))
    loss = model.loss(features, ids, allowed, io["train/valid"])
    checks.close("train loss", loss, config["loss"], 0, checks.rtol(LOSS_RTOL, "loss"))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, norm in config["grad_norms"].items():
        gradient = gradients[name]
        assert gradient is not None
        checks.close(f"|grad {name}|", gradient.norm(), norm, 1e-9, checks.rtol(GRADIENT_RTOL, "gradient"))


def _check_picture(folder: Path, io: dict[str, Tensor], checks: Checks) -> None:
    """Compare the picture of the stored ids, decoded by the network of the set `lactok` beside this one."""
    chain = [name for name in io if name.startswith("chain/")]
    beside = folder.parent / "lactok"
    if not (beside / "set.json").is_file():
        for name in chain:
            checks.skip(name, "the set `lactok`, whose network decodes it, is not beside this one")
        return
    described = json.loads((beside / "config.json").read_text(encoding="utf-8"))
    decoder = lactok_decoder.build(described, weights_of(beside / "weights_fp16.safetensors"), lora=True)
    size = described["image_size"]
    ids = io["sample/tokens"].long()
    side = round(ids.shape[1] ** 0.5)
    ids = ids.unflatten(1, (side, side))
    checks.close("chain/quant", decoder.quantize.lookup(ids), io["chain/quant"], 1e-6)
    noises = [io[name] for name in sorted(chain) if name.startswith("chain/noise")]
    for number in range(len(noises)):
        checks.skip(f"chain/noise{number}", "an input")
    times = samplers.timesteps("tlcm", len(noises))
    code_map = decoder.code_map(ids, size)
    latents = samplers.consistency(lambda x, t: decoder.decoder(x, t, code_map, size, SCALE), noises, times)
    checks.close("chain/latent_final", latents, io["chain/latent_final"], checks.atol(LATENTS, "latents"))
    image = decoder.decode_latents(latents).clamp(-1, 1)
    levels = (255 * (0.5 * image + 0.5).clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1)
    checks.close("chain/image_u8", levels.int(), io["chain/image_u8"].int(), checks.atol(LEVELS, "levels"))
