"""The reconstruction suite's own figures on held-out photographs, during training.

Pictures and their reconstructions are written as PNG files and scored as any folder of reconstructions is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from lactok.errors import DiskError, UserError
from lactok.evaluation.evaluate import evaluate
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

    For one process alone, also where several train together.

    Raises:
        DiskError: `out` is full.
        UserError: the suite did not finish; with what it said.
    """
    made = out / f"step-{step}"
    try:
        with undisturbed(device):
            result = evaluate(
                made,
                references=out / "reference",
                bits=bits,
                resolution=size,
                metrics=metrics,
                device=str(device),
                out=out / "runs",
            )
    except DiskError:
        raise
    except Exception as error:  # whatever it is, the training can go on without
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the suite could not score {made}: {said}; go on without it: `set` suite_every=0") from error
    return {name: entry.value for name, entry in result.metrics.items() if entry.value is not None}


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Afterwards random numbers, threads and gradients are as before, so that a training goes on as without it."""
    threads, python = torch.get_num_threads(), random.getstate()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(python)
