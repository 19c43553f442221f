"""Run the reconstruction suite on held-out photographs during a training.

Photographs and their reconstructions are written as PNG files and scored like any folder of reconstructions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lactok.errors import DiskError, UserError
from lactok.evaluation.evaluate import evaluate
from lactok.training.data import Photo, centre_square, to_tensor
from lactok.training.distributed import each
from lactok.training.held_out import seeds_of


@runtime_checkable
class Reconstructs(Protocol):
    """A learner that trains a tokenizer."""

    @property
    def bits(self) -> float:
        """The number of bits of an image's tokens."""

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the reconstructions (B, 3, S, S) of images (B, 3, S, S) in [-1, 1] with their seeds (B,)."""


def reconstruct(
    learner: Reconstructs, photos: Sequence[Photo], size: int, out: Path, step: int, device: torch.device, write: bool
) -> None:
    """Write the central squares of photographs to `out/reference` and their reconstructions to `out/step-N`.

    Args:
        learner: the learner.
        photos: the held-out photographs.
        size: side of the squares in pixels.
        out: the folder of the suite.
        step: number of steps of the training so far, N.
        device: the device of the learner.
        write: False for a process that only computes: the processes share the photographs, one writes.
    """
    references, outputs = out / "reference", out / f"step-{step}"
    if write:
        references.mkdir(parents=True, exist_ok=True)
        outputs.mkdir(parents=True, exist_ok=True)

    def pixels_of(photo: Photo) -> tuple[np.ndarray, np.ndarray]:
        square = centre_square(photo.open_rgb(), size)
        output = learner.reconstruct(to_tensor([square]).to(device), seeds_of([photo]))
        pixels = ((output[0].float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
        return np.asarray(square), pixels.cpu().numpy()

    for i, (photo, pair) in enumerate(zip(photos, each(photos, pixels_of), strict=True)):
        if write:
            name = f"{i:05}-{Path(photo.name).stem}.png"  # numbered, as images of different folders may have one name
            for folder, pixels in zip((references, outputs), pair, strict=True):
                Image.fromarray(pixels).save(folder / name)


def score(out: Path, step: int, size: int, bits: float, metrics: str, device: torch.device) -> dict[str, float]:
    """Score the images that `reconstruct` wrote; the suite's results and store are in `out/runs`.

    Only the main process calls it.

    Args:
        out, step, size, device: as in `reconstruct`.
        bits: number of bits of an image's tokens.
        metrics: "default", "all", or keys separated by commas.

    Returns:
        Key of the metric -> value.

    Raises:
        DiskError: the disk is full.
        UserError: the suite failed; the message says why.
    """
    outputs = out / f"step-{step}"
    try:
        with preserved_state(device):
            result = evaluate(
                outputs,
                references=out / "reference",
                bits=bits,
                resolution=size,
                metrics=metrics,
                device=str(device),
                out=out / "runs",
            )
    except DiskError:
        raise
    except Exception as error:  # of any kind: the user can resume the training without the suite
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"the suite could not score {outputs}: {reason}; go on without it: `set` suite_every=0"
        raise UserError(message) from error
    return {name: entry.value for name, entry in result.metrics.items() if entry.value is not None}


@contextmanager
def preserved_state(device: torch.device) -> Iterator[None]:
    """Restore the state of random numbers and threads after the block, in which no gradients are computed.

    So a training gives the same bits with the suite as without it.
    """
    threads, python = torch.get_num_threads(), random.getstate()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(python)
