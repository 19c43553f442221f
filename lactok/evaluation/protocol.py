"""Protocols: how images are prepared and scored. Each result states its protocol and the hashes of its settings.

`Prepare` decides which pixels a tokenizer sees, and so its ids; `Score` decides what is done with its output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache

from lactok.errors import unknown, whole
from lactok.images import Prepare, Rounding
from lactok.metrics import registry

SMALLEST, LARGEST_SIDE = 32, 8192  # pixels of a side; the coarsest layers of LPIPS need the smallest


@dataclass(frozen=True)
class Score:
    """How a tokenizer's output becomes numbers.

    The output is resized to the reference's resolution by bicubic, antialiased when it shrinks.

    Attributes:
        metrics: the keys of the metrics that are measured.
        rounding: how values become uint8: "nearest", "truncate" (TiTok's evaluation) or "llamagen" (127.5 x + 128 for
            x in [-1, 1], clamped and truncated).
        version: a number that is raised by hand when the same settings give other pixels to score.
    """

    metrics: tuple[str, ...] = field(default_factory=registry.default_keys)
    rounding: Rounding = "nearest"
    version: int = 1

    def settings(self) -> dict[str, object]:
        """Return all that decides the numbers: the fields, and the versions of the metrics and of their libraries."""
        return asdict(self) | {"versions": {key: registry.find(key).hashed() for key in self.metrics}}


@dataclass(frozen=True)
class Protocol:
    """A named pair of `Prepare` and `Score`.

    Attributes:
        name: the name for `protocol`.
        prepare: how photographs become reference images.
        score: how outputs become numbers.
        note: what the protocol is for.
    """

    name: str
    prepare: Prepare
    score: Score = field(default_factory=Score)
    note: str = ""

    @property
    def prepare_hash(self) -> str:
        """Eight digits of the hash of `prepare`."""
        return digest(self.prepare.settings())[:8]

    @property
    def score_hash(self) -> str:
        """Eight digits of the hash of `score.settings()`."""
        return digest(self.score.settings())[:8]


@cache
def protocols() -> Mapping[str, Protocol]:
    """Return all protocols by name."""
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
            Prepare(256, "adm", upright=False),
            Score(("psnr", "ssim_range2", "rfid"), "llamagen"),
            note="LlamaGen's own evaluation: ADM crop, orientation tags ignored, truncated pixels, inflated SSIM",
        ),
        Protocol(
            "titok-256",
            Prepare(256, upright=False),
            Score(("rfid",), "truncate"),
            note="TiTok's own evaluation: orientation tags ignored, truncated pixels",
        ),
    )
    return {protocol.name: protocol for protocol in found}


def digest(value: object) -> str:
    """Return the sha256 of a value's JSON with sorted keys, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def get(name: str, resolution: int | None = None, metrics: str | Sequence[str] = "default") -> Protocol:
    """Return a protocol.

    Args:
        name: its name.
        resolution: the side of the reference images in pixels, instead of the protocol's.
        metrics: "default" for the protocol's own, "all", or keys of metrics.

    Raises:
        UserError: there is no such protocol or metric, or the resolution is out of range.
    """
    if name not in protocols():
        raise unknown("protocol", name, protocols())
    protocol = protocols()[name]
    if resolution is not None:
        side = whole("resolution", resolution, SMALLEST, LARGEST_SIDE)
        protocol = replace(protocol, prepare=replace(protocol.prepare, resolution=side))
    keys = registry.chosen(metrics, protocol.score.metrics)
    keys = registry.defined_at(keys, protocol.prepare.resolution, strict=metrics != "all")
    return replace(protocol, score=replace(protocol.score, metrics=keys))
