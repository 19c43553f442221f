"""Kind `llamagen_gpt`: LlamaGen's text-conditional transformer, its guidance, and the ids that it chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.gpt import GPT, GPTConfig, visible
from lactok.nn.gpt_decoding import Decoder, Step
from lactok.nn.token_sampling import Sampling, filtered
from lactok.weights import load_strict

# as the READMEs of the kind's sets suggest: logits before guidance, and after it, where values are larger
ATOL, RTOL, GUIDED_ATOL = 1e-4, 1e-4, 1e-3
PREFILL_STRIDE = 17  # the kind's sets hold the logits of every 17th position of the caption


def config_of(values: dict[str, Any]) -> GPTConfig:
    """Return the network's configuration from a set's config.json."""
    return GPTConfig(
        width=values["dim"],
        layers=values["n_layer"],
        heads=values["n_head"],
        hidden=values["ffn_hidden"],
        codebook_size=values["vocab_size"],
        caption_width=values["caption_dim"],
        text_tokens=values["cls_token_num"],
        image_tokens=values["block_size"],
    )


def teacher_forced(
    model: GPT, features: Tensor, mask: Tensor | None, guidance: float, ids: Tensor, interval: int = -1
) -> list[Step]:
    """Return the predictions of all ids where the stored ones (B, N) were chosen; N may be less than an image has."""
    steps: list[Step] = []

    def choose(step: Step) -> Tensor:
        steps.append(step)
        return ids[:, min(step.number, ids.shape[1] - 1)]

    decoder = Decoder(model)
    without = decoder.without_caption(mask, len(features)) if guidance > 1 else None
    decoder.decode(decoder.prefix(features, mask), without, guidance, choose, interval)
    return steps[: ids.shape[1]]


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare rotary positions, logits with and without cache, guidance, filters and greedy ids."""
    model = GPT(config_of(config)).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")
    features, mask = io["text_features"], io["text_mask"]
    for name in ("text_features", "text_mask", "teacher_ids"):
        checks.skip(name, "an input")
    for name in io:
        if name.startswith("min_top2_margin"):
            checks.skip(name, "says how far apart the best two logits are")
    checks.close("freqs_cis", model.table, np.load(folder / "freqs_cis.npz")["freqs_cis"], 1e-6)
    close = checks.close_to(io, ATOL, RTOL)
    close("full_forward_logits_nomask", model(features, io["teacher_ids"]))

    for name in [name for name in io if name.startswith("greedy_ids_")]:
        case = name.removeprefix("greedy_ids_")
        masked = mask if case.startswith("masked") else None
        interval = int(case.partition("interval")[2] or -1)
        scale = 1.0 if case.endswith("cfg1") else float(config["cfg_scale"])
        ids = io[name].long()
        steps = teacher_forced(model, features, masked, scale, ids, interval)
        checks.close(name, torch.stack([s.logits.argmax(-1) for s in steps], 1), ids, 0)
        logits = torch.stack([s.logits for s in steps], 1)
        if f"step_logits_{case}" in io:
            atol = checks.atol(ATOL) if scale == 1 else GUIDED_ATOL
            checks.close(f"step_logits_{case}", logits, io[f"step_logits_{case}"], atol, checks.rtol(RTOL))
        if f"step_logits_cond_{case}" in io:
            close(f"step_logits_cond_{case}", torch.stack([s.conditional for s in steps], 1))
            without = [s.unconditional for s in steps if s.unconditional is not None]
            close(f"step_logits_uncond_{case}", torch.stack(without, 1))
    _check_prefill(model, config, io, checks)
    for name in [name for name in io if name.startswith("probs_step0_")]:
        temperature, top_k, top_p = (float(part[1:]) for part in name.removeprefix("probs_step0_").split("_"))
        case = next(name for name in io if name.startswith("step_logits_masked_cfg") and not name.endswith("cfg1"))
        how = replace(Sampling(), temperature=temperature, top_k=int(top_k), top_p=top_p)
        close(name, filtered(io[case][:, 0], how))
    checks.finish(io)


def _check_prefill(model: GPT, config: dict[str, Any], io: dict[str, Tensor], checks: Checks) -> None:
    """Compare logits at some of the caption's positions, of the batch with and without captions."""
    features, mask = io["text_features"], io["text_mask"]
    empty = model.cls_embedding.uncond_embedding.expand(len(features), -1, -1)
    x = model.embed_caption(torch.cat([features, empty]))
    allowed = visible(mask, model.config, len(features)).repeat(2, 1, 1)
    logits = model.output(model.hidden(x, allowed[:, : x.shape[1], : x.shape[1]]))
    checks.close_to(io, ATOL, RTOL)("prefill_logits_masked_cfg_batch", logits[:, ::PREFILL_STRIDE])
