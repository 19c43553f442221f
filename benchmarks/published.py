"""The papers' own numbers, from `published.json`, each table with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PAPER = "arXiv 2503.08377"
README = "TiTok's README (bytedance/1d-tokenizer)"

# table -> where its rows lie in `published.json`, the folder of their columns (or the only column), where they stand
_TABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "recon_imagenet": (("recon/imagenet50k",), "recon", f"{PAPER}, Table 1, ImageNet"),
    "recon_coco": (("recon/coco2017-5k",), "recon", f"{PAPER}, Table 1, MSCOCO-2017"),
    "recon_mjhq": (("recon/mjhq-5k",), "recon", f"{PAPER}, Table 2, MJHQ-5K"),
    "recon_flux5k": (("recon/flux-5k",), "recon", f"{PAPER}, Table 2, FLUX-5K"),
    "generation": (("generation/diffusion", "generation/autoregressive"), "generation", f"{PAPER}, Table 3"),
    "ablation_components_mjhq5k": (("ablation_components_mjhq5k",), "", f"{PAPER}, Table 4"),
    "ablation_tokens_mjhq5k": (("ablation_tokens_mjhq5k",), "", f"{PAPER}, Table 5"),
    "ablation_cfg_coco5k": (("ablation_cfg_coco5k_lactokgen-t*",), "", f"{PAPER}, Table 6"),
    "generation_seconds": (
        ("generation/seconds_per_image_cvpr2026",),
        "=seconds",
        f"{PAPER}, its later version (CVPR 2026)",
    ),
    "titok_reconstruction": (("titok_readme_imagenet256/reconstruction_fid",), "=rfid", README),
    "titok_generation": (("titok_readme_imagenet256/generation_fid",), "=gfid", README),
}


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        source: paper or page, and the table in it.
        rows: row -> column -> number as printed, None where none is printed.
    """

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float | None]]


@cache
def _file() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "published.json").read_text())


def _at(path: str) -> dict[str, Any]:
    value = _file()
    for part in path.split("/"):
        value = value[part]
    return value


@cache
def table(name: str) -> Table:
    """A published table by name; raises KeyError for another one.

    >>> table("generation").rows["sdxl"]["image_reward"], table("titok_generation").rows["titok-l32"]
    (0.82, {'gfid': 2.77})
    """
    paths, columns, source = _TABLES[name]
    merged: dict[str, Any] = {}
    for path in paths:
        merged |= {k: v for k, v in _at(path).items() if k != "columns"}
    if columns.startswith("="):
        heads = [columns[1:]]
        merged = {k: [v] for k, v in merged.items()}
    else:
        heads = _at(columns or paths[0])["columns"]
    rows = {row: dict(zip(heads, values, strict=True)) for row, values in merged.items()}
    return Table(source, tuple(heads), rows)


def names() -> tuple[str, ...]:
    return tuple(_TABLES)


def row_of(name: str, rows: Mapping[str, object]) -> str | None:
    """The row of a system whose stars are written out here ("lactokgen-t-star"), its options left aside.

    >>> row_of("lactokgen-t-star@guidance=2", table("generation").rows)
    'lactokgen-t*'
    """
    base = name.partition("@")[0].lower().replace("-star", "*")
    return base if base in rows else None
