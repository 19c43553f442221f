"""Protocols: how images are prepared and scored. Each result states its protocol and the hashes of its settings.

`Prepare` decides which pixels a tokenizer sees, and so its ids; `Score` decides what is done with its output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Literal

from lactok.errors import WrongValue, unknown, whole
from lactok.images import Filter, Prepare, Rounding
from lactok.metrics import choice, registry

SMALLEST, LARGEST_SIDE = 32, 8192  # pixels of a side; the coarsest layers of LPIPS need the smallest


@dataclass(frozen=True)
class Score:
    """How a tokenizer's output becomes numbers.

    Where references are squares, the output is resized to their resolution, antialiased when it shrinks.

    Attributes:
        metrics: the keys of the metrics that are measured.
        rounding: how values become uint8: "nearest", "truncate" (TiTok's evaluation), "llamagen" (127.5 x + 128 for
            x in [-1, 1], clamped and truncated) or "seed-voken" ((x + 1) / 2 * 255 for x in [-1, 1], computed in
            float32 and truncated).
        version: a number that is raised by hand when the same settings give other pixels to score.
        enlarge: the filter by which the output is resized: "bicubic" or "bilinear".
        references: which pixels the output is compared with: "exact" are the reference's own, "rounded" are what
            `rounding` leaves of them. The two differ for "seed-voken" alone, where levels 1 to 95 fall by one.
        fast: whether the networks of LPIPS and of Inception's features compute in bfloat16. Results say how much that
            changes on a few images, see `lactok.evaluation.fast`, and tables mark them.
    """

    metrics: tuple[str, ...] = field(default_factory=registry.default_keys)
    rounding: Rounding = "nearest"
    version: int = 1
    enlarge: Filter = "bicubic"
    references: Literal["exact", "rounded"] = "exact"
    fast: bool = False

    def settings(self) -> dict[str, object]:
        """Return all that decides the numbers: the fields, and the versions of the metrics and of their libraries.

        A field that was added later stands here where it is not the default, so that older hashes stay what they were.
        """
        later = {f.name: f.default for f in fields(self) if f.name in ("enlarge", "references", "fast")}
        own = {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}
        return own | {"versions": {key: registry.find(key).hashed() for key in self.metrics}}


@dataclass(frozen=True)
class Protocol:
    """A named pair of `Prepare` and `Score`.

    Attributes:
        name: the name for `protocol`.
        prepare: how photographs become reference images.
        score: how outputs become numbers.
        note: what the protocol is for.
        source: whose evaluation it repeats: the paper, the repository and the file; "" for this project's own.
        options: options of tokenizers, with their values, that every tokenizer is given which has them and is not
            named with another value; they become part of the tokenizer's name in the result.
    """

    name: str
    prepare: Prepare
    score: Score = field(default_factory=Score)
    note: str = ""
    source: str = ""
    options: tuple[tuple[str, float], ...] = ()

    @property
    def prepare_hash(self) -> str:
        """Eight digits of the hash of `prepare`."""
        return digest(self.prepare.settings())[:8]

    @property
    def score_hash(self) -> str:
        """Eight digits of the hash of `score.settings()`."""
        return digest(self.score.settings())[:8]

    def tokenizer_name(self, name: str) -> str:
        """Return a tokenizer's name with the options that the protocol sets, as far as it has them.

        An option that stands in the name already keeps its value, also where that is the tokenizer's default.

        Args:
            name: the name, which may carry options after `@`.

        Raises:
            UserError: the name is unknown, or an option of it.
        """
        if not self.options:
            return name
        from lactok.registry import tokenizer_spec

        own = {part.partition("=")[0] for part in name.partition("@")[2].split(",")}
        spec = tokenizer_spec(name)
        added = [f"{key}={value:g}" for key, value in self.options if key in spec.options and key not in own]
        return f"{name}{',' if '@' in name else '@'}{','.join(added)}" if added else name


def _keys(*keys: str) -> tuple[str, ...]:
    """Return those of the metrics that there are."""
    return tuple(key for key in keys if key in registry.METRICS.own())


@cache
def protocols() -> Mapping[str, Protocol]:
    """Return all protocols by name."""
    default = registry.default_keys()
    paper = (*default, "lpips_vgg", "rfid_clean", *_keys("ms_ssim", "psnr_pooled"))
    seed_voken = Score(("psnr", "ssim_uniform7", "lpips_alex", "lpips_vgg", "rfid"), "seed-voken", references="rounded")
    seed_voken_source = "SEED-Voken (arXiv 2409.04410, 2412.02692), TencentARC/SEED-Voken"
    found = (
        Protocol("square-256", Prepare(256), note="the central square at 256 px: most tokenizers' own size"),
        Protocol(
            "paper-1024",
            Prepare(1024),
            Score(paper),
            note="a reading of the paper's unpublished protocol at 1024 px, with all that its P, S and L may mean: "
            "PSNR a photograph and pooled, SSIM and MS-SSIM, LPIPS by AlexNet and by VGG",
            source="LaCTok (arXiv 2503.08377), Tables 1 and 2; no evaluation stands in Alpha-X-95/LaCToK",
        ),
        Protocol(
            "paper-1024-4m",
            Prepare(1024),
            Score(_keys("psnr_pooled", "psnr", "ms_ssim", "lpips_alex", "rfid"), "truncate", enlarge="bilinear"),
            note="another reading of the paper: the evaluation of the trainer that its own descends from, with "
            "bilinear enlargement, truncated pixels and cond_scale 0.8",
            source="4M (arXiv 2312.06647), apple/ml-4m, run_training_vqcontrolnet.py: eval_metrics",
            options=(("cond_scale", 0.8),),
        ),
        Protocol(
            "paper-1024-squash",
            Prepare(1024, "squash"),
            Score(paper),
            note='another reading of the paper: "resized to 1024x1024" as a photograph stretched to the square',
            source='LaCTok (arXiv 2503.08377), "All the images are resized to 1024x1024 size"',
        ),
        Protocol(
            "llamagen-256",
            Prepare(256, "adm", upright=False),
            Score(("psnr", "ssim_range2", "rfid"), "llamagen"),
            note="LlamaGen's own evaluation: ADM crop, orientation tags ignored, truncated pixels, inflated SSIM",
            source="LlamaGen (arXiv 2406.06525), FoundationVision/LlamaGen, "
            "tokenizer/tokenizer_image/reconstruction_vq_ddp.py",
        ),
        Protocol(
            "titok-256",
            Prepare(256, upright=False),
            Score(("rfid",), "truncate"),
            note="TiTok's own evaluation: orientation tags ignored, truncated pixels",
            source="TiTok (arXiv 2406.07550), bytedance/1d-tokenizer, evaluator/evaluator.py",
        ),
        Protocol(
            "seed-voken-256",
            Prepare(256, upright=False, filter="bilinear"),
            seed_voken,
            note="SEED-Voken's evaluation of Open-MAGVIT2 and of the tokenizers for pre-training: torchvision's "
            "bilinear resizing, truncated pixels on both sides, dark levels of the photographs one too low",
            source=f"{seed_voken_source}, evaluation_image.py",
        ),
        Protocol(
            "seed-voken-256-ibq",
            Prepare(256, "albumentations", upright=False),
            seed_voken,
            note="SEED-Voken's evaluation of IBQ on ImageNet: as seed-voken-256, but bilinear without antialiasing",
            source=f"{seed_voken_source}, evaluation_image.py with src.IBQ's data",
        ),
        Protocol(
            "var-256",
            Prepare(256, upright=False, filter="lanczos", margin=1.125),
            Score(rounding="truncate"),
            note="VAR's pictures, 256 px cut out of 288 by Lanczos, pixels truncated; VAR publishes no evaluation of "
            "reconstructions, so the metrics are this project's",
            source="VAR (arXiv 2404.02905), FoundationVision/VAR, utils/data.py and demo_sample.ipynb",
        ),
        Protocol(
            "native",
            Prepare(None, "pad"),
            note="photographs at their own size, with a grey border up to a multiple of the tokenizer's, cut off again",
            source="the border is that of SEED-Voken, TencentARC/SEED-Voken, evaluation_original_reso.py",
        ),
        Protocol(
            "seed-voken-native",
            Prepare(None, "pad", upright=False),
            replace(seed_voken, metrics=("psnr", "ssim_uniform7", "rfid")),
            note="SEED-Voken's evaluation at original resolution: as native, with its rounding and metrics",
            source=f"{seed_voken_source}, evaluation_original_reso.py",
        ),
        Protocol(
            "tokbench",
            Prepare(256, "box", upright=False),
            note="photographs shrunk into a black square of 256 px (resolution: 512, 1024), tokenized, and brought "
            "back to their own size by Lanczos; TokBench's own scores read text and faces, these are the usual ones",
            source="TokBench (arXiv 2505.18142), wjf5203/TokBench, tokenzier_vae_scripts/image_scripts/resize_rec.py",
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
        if protocol.prepare.resolution is None:
            raise WrongValue(f"`resolution` {resolution}: {name} keeps the size of photographs; leave it out")
        side = whole("resolution", resolution, SMALLEST, LARGEST_SIDE)
        protocol = replace(protocol, prepare=replace(protocol.prepare, resolution=side))
    keys = choice.chosen(metrics, protocol.score.metrics)
    shorter = None if protocol.prepare.keeps_shape else protocol.prepare.resolution
    keys = choice.defined_at(keys, shorter, strict=metrics not in ("all", "default"))
    return replace(protocol, score=replace(protocol.score, metrics=keys))
