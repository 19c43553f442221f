"""Kind `seed_voken_eval`: SEED-Voken's evaluation programs, from photographs to the numbers that they print.

The set has photographs and what each of several jobs printed; the networks are those of other sets beside it. What
needed downloads is replaced there, as `stubs` of its config.json says, and so it is here: FID is of a few pooled
pixels, LPIPS a mean difference.

Where the set has a job's reconstructions, they are compared, and the numbers are of these. Of other jobs the numbers
are of this project's own reconstructions. There the rounding of float32 decides on which side of a level some values
fall, and so the sixth digit of PSNR; the printed number has to lie between those that such values can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.verify import ibq, open_magvit2, sets
from benchmarks.verify.checks import Checks, NotBuilt
from lactok import fitting, images
from lactok.evaluation import protocol
from lactok.metrics.frechet import frechet
from lactok.metrics.psnr import psnr
from lactok.metrics.ssim import ssim_uniform7
from lactok.nn.ibq import IBQ
from lactok.nn.open_magvit2 import OpenMagvit2
from lactok.specs import TokenizerSpec

Network = IBQ | OpenMagvit2
NETWORKS: dict[str, Callable[[Path, dict[str, Any], str], Network]] = {
    "ibq": ibq.network,
    "open_magvit2": open_magvit2.network,
}
# script -> the beginning of the names of its photographs, and the protocol that repeats it here
SCRIPTS = {
    "evaluation_original_reso.py": ("original", "seed-voken-native"),
    "evaluation_image.py": ("fixed", "seed-voken-256"),
}
MULTIPLE = 16  # of the sides of padded photographs, whatever the network needs
FID_RTOL, ATOL, PIXELS = 1e-5, 1e-6, 1e-4  # as the READMEs of this kind's sets and of the networks' suggest
NOISE = 1e-5  # by which float32 reconstructions of two machines differ at most, as the networks' READMEs say
LPIPS = {"LPIPS_ALEX": 1.0, "LPIPS_VGG": 2.0}  # what stands for them: so many times the mean difference
Metric = Callable[[Tensor, Tensor], Tensor]
METRICS: dict[str, Metric] = {"PSNR": psnr, "SSIM": ssim_uniform7}


@dataclass
class Job:
    """One run of an evaluation program.

    Attributes:
        name: the job's name.
        expected: the numbers that it printed, by name.
        batch: photographs of a batch.
        photographs: (3, H, W) in [0, 1].
        made: their reconstructions, (3, H, W), those of this project not yet cut to [0, 1].
        usage: the share of codes that occur in their ids.
        is_stored: whether the reconstructions are the set's.
    """

    name: str
    expected: dict[str, float]
    batch: int
    photographs: list[Tensor]
    made: list[Tensor]
    usage: float
    is_stored: bool


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare borders, reconstructions and the printed numbers of each job."""
    io = checks.tensors(folder / "io.safetensors")
    for name in io:
        if name.endswith(".image"):
            checks.skip(name, "an input")
    with_reconstructions: set[str] = set()
    for name, values in config.items():
        if isinstance(values, dict) and "script" in values:
            if values["script"] not in SCRIPTS:
                raise NotBuilt(f"the script {values['script']}")
            # the reconstructions of the set are those of a script's first job
            is_stored = values["script"] not in with_reconstructions
            with_reconstructions.add(values["script"])
            _compare_numbers(_run(folder, name, values, io, checks, is_stored), checks)
    checks.finish(io)


def _run(
    folder: Path, name: str, values: dict[str, Any], io: dict[str, Tensor], checks: Checks, is_stored: bool
) -> Job:
    """Reconstruct the photographs of a job as its script does, and compare borders and pixels with the stored ones."""
    head, of_script = SCRIPTS[values["script"]]
    other = sets.read(folder.parent / values["tokenizer_set"])
    if other.kind not in NETWORKS:
        raise NotBuilt(f"an evaluation of the kind {other.kind!r}")
    network = NETWORKS[other.kind](other.folder, other.config, other.name)
    how = protocol.get(of_script).prepare
    multiple = MULTIPLE if how.keeps_shape else 1
    spec = TokenizerSpec(other.name, other.kind, None, None, None, None, "none", multiple=multiple)
    job = Job(name, values["expected"], values["batch_size"], [], [], 0.0, is_stored)
    used: set[int] = set()
    for key in sorted(key for key in io if key.startswith(f"{head}.") and key.endswith(".image")):
        place = key.removesuffix("image")
        photograph = io[key].numpy()
        height, width = photograph.shape[:2]
        top, left = fitting.border(height, multiple)[0], fitting.border(width, multiple)[0]
        given = fitting.tokenizer_input(photograph, how, spec)
        if f"{place}crop" in io and is_stored:
            checks.close(f"{place}crop", [top, left, top + height, left + width], io[f"{place}crop"], 0)
        if f"{place}padded" in io and is_stored:
            checks.close(f"{place}padded", 2 * given[None] - 1, io[f"{place}padded"], checks.atol(ATOL))
        ids = network.encode(2 * given[None] - 1)
        used.update(ids.flatten().tolist())
        inside = (..., slice(top, top + height), slice(left, left + width))
        made = network.decode(ids)[0][inside]
        if is_stored:
            stored = io[f"{place}reconstructed"]
            checks.close(f"{place}reconstructed", made.clamp(-1, 1), stored, PIXELS, PIXELS)
            made = stored
        job.photographs.append(given[inside])
        job.made.append((made + 1) / 2)
    job.usage = len(used) / network.config.codebook_size
    return job


def _compare_numbers(job: Job, checks: Checks) -> None:
    """Compare all numbers that a job printed."""
    pairs = [(photograph, made.clamp(0, 1)) for photograph, made in zip(job.photographs, job.made, strict=True)]
    for key, printed in job.expected.items():
        name = f"{job.name}/{key}"
        if key in METRICS:
            moves = (0,) if job.is_stored else (0, 1, -1)
            possible = [_mean(job, METRICS[key], towards) for towards in moves]
            nearest = min(max(printed, min(possible)), max(possible))
            checks.close(name, nearest, printed, checks.atol(ATOL))
        elif key == "FID":
            features = [np.concatenate([_pooled(pair[i]) for pair in pairs]) for i in (0, 1)]
            checks.close(name, frechet(features[:1], features[1:]), printed, 0, checks.rtol(FID_RTOL))
        elif key in LPIPS:
            differences = [float((a - b).abs().mean()) * 2 for a, b in pairs]  # of pixels in [-1, 1]
            checks.close(name, LPIPS[key] * float(np.mean(differences)), printed, checks.atol(ATOL))
        elif key == "utilization":
            checks.close(name, job.usage, printed, 0)
        else:
            raise NotBuilt(f"the number {key}")


def _mean(job: Job, metric: Metric, towards: int) -> float:
    """Return the mean of the means of batches, so that a short last batch weighs as much as the others.

    Args:
        job: the job.
        metric: of uint8 images.
        towards: 1 or -1 to move all values by `NOISE` towards those of the photographs or away from them before they
            are rounded, 0 to leave them.
    """
    values = []
    for photograph, made in zip(job.photographs, job.made, strict=True):
        moved = made + towards * NOISE * (photograph - made).sign()
        # the protocol rounds both alike, so that an image which nothing changed keeps its levels; of others it takes
        # the few values that are within 2e-5 of the next level for that level, which the original does not
        pair = images.to_uint8(photograph, "seed-voken"), images.to_uint8(moved.clamp(0, 1), "truncate")
        values.append(float(metric(pair[0][None], pair[1][None])))
    return float(np.mean([np.mean(values[i : i + job.batch]) for i in range(0, len(values), job.batch)]))


def _pooled(picture: Tensor) -> np.ndarray:
    """A picture (3, H, W) in [0, 1] -> what stands for Inception's features, (1, 12)."""
    large = F.interpolate(picture[None], (299, 299), mode="bilinear", align_corners=False)
    return F.adaptive_avg_pool2d(large, 2).flatten(1).numpy()
