"""Kind `titok_generator`: TiTok's generators of a class, both networks and all schedules of guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn.maskgit_sampling import MaskGITSampling, sample
from lactok.nn.titok_generator import MaskedTransformerConfig, build, logits
from lactok.weights import load_strict

ATOL, RTOL, GUIDED_ATOL = 1e-4, 0.0, 1e-3  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any], model: str) -> MaskedTransformerConfig:
    """Return the configuration of one of the set's networks from its config.json."""
    shape = values["models"][model]
    return MaskedTransformerConfig(
        kind="uvit" if shape["model_type"] == "UViT" else "bert",
        width=shape["hidden_size"],
        layers=shape["num_hidden_layers"],
        heads=shape["num_attention_heads"],
        hidden=shape["intermediate_size"],
        tokens=values["image_seq_len"],
        codebook_size=values["codebook_size"],
        classes=values["condition_num_classes"],
    )


def sampling_of(values: dict[str, Any]) -> MaskGITSampling:
    """Return how ids are chosen from one of the runs in a set's config.json."""
    return MaskGITSampling(
        steps=values["num_sample_steps"],
        guidance=values["guidance_scale"],
        decay=values["guidance_decay"],
        power=values["guidance_scale_pow"],
        temperature=values["randomize_temperature"],
        annealing=values["softmax_temperature_annealing"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare the networks' logits, and each run step by step with the stored draws."""
    io = checks.tensors(folder / "io.safetensors")
    checks.skip("input_ids", "an input")
    checks.skip("labels", "an input")
    labels = io["labels"]
    close = checks.close_to(io, ATOL, RTOL)
    for model, described in config["models"].items():
        shape = config_of(config, model)
        network = build(shape).eval()
        load_strict(network, weights_of(folder / described["weights"]), checks.name)
        close(f"{model}/logits_cond", logits(network, shape, io["input_ids"], labels, False))
        close(f"{model}/logits_drop", logits(network, shape, io["input_ids"], labels, True))

        def predict(ids: Tensor, drop: bool, network: Any = network, shape: Any = shape) -> Tensor:
            return logits(network, shape, ids, labels, drop)

        for run, values in config["runs"].items():
            _check_run(f"{model}/{run}", predict, shape, sampling_of(values), io, checks)
    checks.finish(io)


def _check_run(
    name: str, predict: Any, shape: MaskedTransformerConfig, how: MaskGITSampling, io: dict[str, Tensor], checks: Checks
) -> None:
    """Compare a run: logits and ids after every step, and the ids at the end."""
    seen: list[tuple[Tensor, Tensor]] = []

    def stored_draws(use: str, _: tuple[int, ...]) -> Tensor:
        kind, step = use.split(" ")
        return io[f"{name}/u_{'tokens' if kind == 'ids' else 'confidence'}"][int(step)]

    ids = sample(
        predict,
        stored_draws,
        (len(io["labels"]), shape.tokens),
        shape.mask_id,
        how,
        lambda step, found, ids: seen.append((found, ids)),
    )
    checks.skip(f"{name}/u_tokens", "the draws, an input")
    checks.skip(f"{name}/u_confidence", "the draws, an input")
    found = torch.stack([x for x, _ in seen])
    checks.close(f"{name}/guided_logits", found, io[f"{name}/guided_logits"], GUIDED_ATOL)
    checks.close(f"{name}/ids_after_step", torch.stack([x for _, x in seen]), io[f"{name}/ids_after_step"], 0)
    checks.close(f"{name}/ids_final", ids, io[f"{name}/ids_final"], 0)
