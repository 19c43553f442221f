"""Kind `ibq`: SEED-Voken's IBQ, a VQGAN with another quantizer; averaged weights where the set has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from benchmarks.verify.vqgan import ATOL, RTOL, check_autoencoder, config_of
from lactok.nn.ibq import IBQ, from_voken
from lactok.weights import load_strict


def network(folder: Path, config: dict[str, Any], name: str) -> IBQ:
    """Return the network of a set with its weights."""
    model = IBQ(config_of(config)).eval()
    load_strict(model, from_voken(weights_of(folder / "weights.safetensors")), name)
    return model


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the set, from the image to the decoded one."""
    model = network(folder, config, checks.name)
    check_autoencoder(model, checks.tensors(folder / "io.safetensors"), checks, checks.atol(ATOL), checks.rtol(RTOL))
