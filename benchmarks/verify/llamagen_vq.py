"""Kind `llamagen_vq`: LlamaGen's VQModel with the sizes of the set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from benchmarks.verify.vqgan import check_autoencoder
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.weights import load_strict

ATOL, RTOL = 3e-4, 1e-4  # as the READMEs of the kind's sets suggest


def config_of(values: dict[str, Any]) -> VQConfig:
    """Return the network's configuration from a set's config.json."""
    return VQConfig(
        channels=values["ch"],
        channel_mult=tuple(values["ch_mult"]),
        res_blocks=values["nrb"],
        z_channels=values["zc"],
        codebook_size=values["n_e"],
        codebook_dim=values["e_dim"],
        l2_norm=values["l2_norm"],
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the image to the decoded one."""
    model = VQModel(config_of(config)).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    check_autoencoder(model, checks.tensors(folder / "io.safetensors"), checks, checks.atol(ATOL), checks.rtol(RTOL))
