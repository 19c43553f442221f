"""How images are prepared and scored: data, hashed, written into every row.

`Prepare` decides the pixels that a tokenizer sees and so its ids; `Score` decides what is done with its output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache

from lactok.errors import WrongValue, unknown
from lactok.images import Prepare, Rounding
from lactok.metrics import registry

SMALLEST = 32  # px; the coarsest layers of LPIPS need as much


@dataclass(frozen=True)
class Score:
    """From a tokenizer's output to numbers.

    The output is brought back to the reference's resolution by bicubic, antialiased when it shrinks.

    Attributes:
        metrics: keys of metrics; None for those that are measured by default.
        rounding: to uint8; "nearest", "truncate" (TiTok's evaluation), "llamagen" (clamp(127.5 x + 128), cut).
        version: raised by hand when the same settings give other pixels to score.
    """

    metrics: tuple[str, ...] = field(default_factory=registry.default_keys)
    rounding: Rounding = "nearest"
    version: int = 1

    def settings(self) -> dict[str, object]:
        """What decides the numbers: the fields, and the versions of each metric and of its libraries."""
        return asdict(self) | {"versions": {key: registry.find(key).hashed() for key in self.metrics}}


@dataclass(frozen=True)
class Protocol:
    """A named pair of `Prepare` and `Score`."""

    name: str
    prepare: Prepare
    score: Score = field(default_factory=Score)
    note: str = ""

    @property
    def prepare_hash(self) -> str:
        return digest(asdict(self.prepare))[:8]

    @property
    def score_hash(self) -> str:
        return digest(self.score.settings())[:8]


@cache
def protocols() -> Mapping[str, Protocol]:
    """All protocols by name."""
    found = (
        Protocol("square-256", Prepare(256), note="the central square at 256 px: most tokenizers' own size"),
        Protocol(
            "paper-1024",
            Prepare(1024),
            Score((*registry.default_keys(), "lpips_vgg")),
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
    return {protocol.name: protocol for protocol in found}


def digest(value: object) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def get(name: str, resolution: int | None = None, metrics: str | Sequence[str] = "default") -> Protocol:
    """A protocol by name, with another resolution and other metrics where these are given.

    Raises:
        UserError: unknown protocol or metric, or a resolution out of range.
    """
    if name not in protocols():
        raise unknown("protocol", name, protocols())
    protocol = protocols()[name]
    if resolution is not None:
        if not isinstance(resolution, int) or not SMALLEST <= resolution <= 8192:
            raise WrongValue(f"`resolution` {resolution!r}: between {SMALLEST} and 8192 pixels")
        protocol = replace(protocol, prepare=replace(protocol.prepare, resolution=resolution))
    keys = registry.chosen(metrics, protocol.score.metrics)
    return replace(protocol, score=replace(protocol.score, metrics=keys))
