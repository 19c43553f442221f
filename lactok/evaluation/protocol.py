"""How images are prepared and scored: data, hashed, written into every row.

`Prepare` decides the pixels that a tokenizer sees and so its ids; `Score` decides what is done with its output.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal

from lactok.errors import UserError, unknown

# metric -> is higher better
METRICS = {
    "psnr": True,
    "ssim": True,
    "ssim_uniform7": True,
    "ssim_range2": True,
    "lpips_alex": False,
    "lpips_vgg": False,
    "rfid": False,
    "rfid_clean": False,
    "kid": False,
}
PER_IMAGE = ("psnr", "ssim", "ssim_uniform7", "ssim_range2", "lpips_alex", "lpips_vgg")
DEFAULT_METRICS = ("psnr", "ssim", "lpips_alex", "rfid", "kid")
SMALLEST = 32  # px; the coarsest layers of LPIPS need as much

Crop = Literal["resize-then-crop", "adm"]
Rounding = Literal["nearest", "truncate", "llamagen"]


@dataclass(frozen=True)
class Prepare:
    """From a photograph to the square reference image.

    Attributes:
        resolution: side of the reference in pixels.
        crop: "resize-then-crop": shorter side to `resolution` by antialiased bicubic, then the central square
            (torchvision's Resize and CenterCrop on PIL images); "adm": halve by box filter while the shorter side
            is twice the resolution or more, then bicubic and the central square (guided-diffusion, LlamaGen).
        input: how the reference is brought to a tokenizer's own size.
    """

    resolution: int
    crop: Crop = "resize-then-crop"
    input: str = "tokenizer's own filter, PIL, uint8"
    transparency: str = "over white"


@dataclass(frozen=True)
class Score:
    """From a tokenizer's output to numbers.

    Attributes:
        output: how the output is brought back to the reference's resolution.
        rounding: to uint8; "nearest", "truncate" (TiTok's evaluation), "llamagen" (clamp(127.5 x + 128), cut).
        metrics: keys of `METRICS`.
    """

    metrics: tuple[str, ...] = DEFAULT_METRICS
    rounding: Rounding = "nearest"
    output: str = "bicubic, antialiased when shrinking"
    rfid: str = "torch-fidelity Inception, TF1 bilinear to 299, uint8"
    rfid_clean: str = "torch-fidelity Inception, clean-fid's PIL bicubic to 299"
    ssim: str = "Gaussian 11x11, sigma 1.5, range 1, inside only"
    lpips: str = "v0.1 at the reference's resolution, [-1, 1]"

    def hashed(self) -> dict[str, object]:
        """What the hash covers: the fields and the versions of the libraries that compute the metrics."""
        libraries = ("torch-fidelity", "lpips", "clean-fid", "scikit-image")
        return dataclasses.asdict(self) | {"versions": {name: version(name) for name in libraries}}


@dataclass(frozen=True)
class Protocol:
    """A named pair of `Prepare` and `Score`."""

    name: str
    prepare: Prepare
    score: Score = Score()
    note: str = ""

    @property
    def prepare_hash(self) -> str:
        return digest(dataclasses.asdict(self.prepare))[:8]

    @property
    def score_hash(self) -> str:
        return digest(self.score.hashed())[:8]


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol("square-256", Prepare(256), note="the central square at 256 px: most tokenizers' own size"),
        Protocol(
            "paper-1024",
            Prepare(1024),
            Score((*DEFAULT_METRICS, "lpips_vgg")),
            note="the paper's 1024 px; LPIPS with both networks, since the paper does not name its own",
        ),
        Protocol(
            "llamagen-256",
            Prepare(256, "adm"),
            Score(("psnr", "ssim_range2", "rfid"), "llamagen"),
            note="LlamaGen's own evaluation: ADM crop, truncated pixels, inflated SSIM",
        ),
        Protocol(
            "titok-256", Prepare(256), Score(("rfid",), "truncate"), note="TiTok's own evaluation: truncated pixels"
        ),
    )
}


def digest(value: object) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def get(name: str, resolution: int | None = None, metrics: str = "default") -> Protocol:
    """A protocol by name, with the command line's resolution and metrics.

    Raises:
        UserError: unknown protocol or metric, or a resolution out of range.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    protocol = PROTOCOLS[name]
    if resolution is not None:
        if not SMALLEST <= resolution <= 8192:
            raise UserError(f"--resolution {resolution}: between {SMALLEST} and 8192 pixels")
        protocol = replace(protocol, prepare=replace(protocol.prepare, resolution=resolution))
    if metrics != "default":
        chosen = list(METRICS) if metrics == "all" else [m for m in metrics.split(",") if m]
        for metric in chosen:
            if metric not in METRICS:
                raise unknown("metric", metric, METRICS)
        if not chosen:
            raise UserError("--metrics is empty; name some, or use default or all")
        ordered = tuple(m for m in METRICS if m in chosen)
        protocol = replace(protocol, score=replace(protocol.score, metrics=ordered))
    return protocol
