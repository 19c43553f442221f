"""The reconstruction suite's own figures on held-out photographs, during training.

Pictures and their reconstructions are written as PNG files and scored by the suite's command, as any folder is: the
suite is built on this package, so that nothing here imports it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.randomness import seed_of
from lactok.training.data import Photo, centre_square, to_tensor


@runtime_checkable
class Reconstructs(Protocol):
    """A learner whose model is a tokenizer."""

    @property
    def bits(self) -> float:
        """Of an image."""

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] and their seeds (B,) -> what the tokenizer makes of them."""


def reconstruct(
    learner: Reconstructs, photos: Sequence[Photo], size: int, out: Path, step: int, device: torch.device, write: bool
) -> None:
    """Central squares of side `size` into `out/reference`, reconstructions after `step` steps into `out/step-N`.

    Args:
        write: False on all processes but one, where several must compute together.
    """
    references, outputs = out / "reference", out / f"step-{step}"
    for folder in (references, outputs) if write else ():
        folder.mkdir(parents=True, exist_ok=True)
    for i, photo in enumerate(photos):
        square = centre_square(photo.open_rgb(), size)
        output = learner.reconstruct(to_tensor([square]).to(device), torch.tensor([seed_of("held out", photo.name)]))
        if write:
            name = f"{i:05}-{Path(photo.name).stem}.png"  # pictures of different folders may have one name
            pixels = ((output[0].float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
            square.save(references / name)
            Image.fromarray(pixels.cpu().numpy()).save(outputs / name)


def score(out: Path, step: int, size: int, bits: float, metrics: str, device: torch.device) -> dict[str, float]:
    """The suite's figures of what `reconstruct` wrote, metric -> value; its results and store are in `out/runs`.

    Raises:
        UserError: the suite did not finish; with what it said.
    """
    command = [
        sys.executable, "-m", "benchmarks.recon", "--images", str(out / "reference"), str(out / f"step-{step}"),
        "--bits", f"{bits:g}", "--resolution", str(size), "--metrics", metrics, "--device", str(device),
        "--out", str(out / "runs"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=alone())
    results = sorted((out / "runs").glob(f"images-step-{step}-*/result.json"), key=lambda p: p.stat().st_mtime)
    if done.returncode or not results:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1].removeprefix("error: ")
        raise UserError(f"the suite could not score {out}/step-{step}: {said}; go on without it: --set suite_every=0")
    found = json.loads(results[-1].read_text())["metrics"]
    return {name: float(entry["value"]) for name, entry in found.items() if entry["value"] is not None}


def alone() -> dict[str, str]:
    """The environment, without what tells a process that it is one of several."""
    several = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {
        k: v for k, v in os.environ.items() if k not in several and not k.startswith(("ACCELERATE_", "TORCHELASTIC"))
    }
