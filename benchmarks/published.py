"""The numbers that papers print, read from `published.json`; each table comes with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PAPER = "arXiv 2503.08377"
CVPR = "LacTokGen at CVPR 2026, the paper's later version"
README = "TiTok's README (bytedance/1d-tokenizer)"
SEED_VOKEN = "SEED-Voken's README (TencentARC/SEED-Voken), measured by its authors"

# the paper's tokenizers -> those of this project that stand for them; all others have the name of their row
TOKENIZERS = {
    "seedtok+": "seedtok-2",
    "titok-s128": "titok-s128",
    "llamagen": "llamagen-vq16",
    "flextok": "flextok-d18-d28",
    "lactok-h": "lactok-h",
    "lactok-h*": "lactok-h-star",
    "lactok-t*": "lactok-t-star",
}


@dataclass(frozen=True)
class _Location:
    """Where a table lies in `published.json`. A path is a chain of keys, joined by "/".

    Attributes:
        source: the paper or page, and the table in it.
        rows: paths of the objects that hold the rows; the rows of all of them make up the table.
        columns: path of the object whose "columns" names the columns; by default the object of the rows.
        only_column: name of the column of a table whose rows are single numbers; such a table lists no columns.
        dataset, protocol: for reconstructions, the data set and the protocol here that the numbers belong to; "" for a
            protocol that this project does not have.
    """

    source: str
    rows: tuple[str, ...]
    columns: str | None = None
    only_column: str | None = None
    dataset: str = ""
    protocol: str = ""


def _of_paper(where: str, rows: str, dataset: str) -> _Location:
    """Return where a table of the paper's reconstructions lies."""
    return _Location(f"{PAPER}, {where}", (f"recon/{rows}",), columns="recon", dataset=dataset, protocol="paper-1024")


def _rfid_of(source: str, rows: str, protocol: str, dataset: str = "imagenet") -> _Location:
    """Return where a table lies whose rows are rFIDs."""
    return _Location(source, (rows,), only_column="rfid", dataset=dataset, protocol=protocol)


_TABLES = {
    "recon_imagenet": _of_paper("Table 1, ImageNet", "imagenet50k", "imagenet"),
    "recon_coco": _of_paper("Table 1, MSCOCO-2017", "coco2017-5k", "coco"),
    "recon_mjhq": _of_paper("Table 2, MJHQ-5K", "mjhq-5k", "mjhq"),
    "recon_flux5k": _of_paper("Table 2, FLUX-5K", "flux-5k", "flux5k"),
    "recon_coco_cvpr2026": _Location(CVPR, ("cvpr2026/recon_coco",), dataset="coco", protocol="paper-1024"),
    "generation_cvpr2026": _Location(CVPR, ("cvpr2026/generation",)),
    "generation": _Location(
        f"{PAPER}, Table 3", ("generation/diffusion", "generation/autoregressive"), columns="generation"
    ),
    "ablation_components_mjhq5k": _Location(f"{PAPER}, Table 4", ("ablation_components_mjhq5k",)),
    "ablation_tokens_mjhq5k": _Location(f"{PAPER}, Table 5", ("ablation_tokens_mjhq5k",)),
    "ablation_cfg_coco5k": _Location(f"{PAPER}, Table 6", ("ablation_cfg_coco5k_lactokgen-t*",)),
    "generation_seconds": _Location(
        f"{PAPER}, its later version (CVPR 2026)",
        ("generation/seconds_per_image_cvpr2026",),
        only_column="seconds",
    ),
    "titok_reconstruction": _rfid_of(README, "titok_readme_imagenet256/reconstruction_fid", "titok-256"),
    "titok_reconstruction_continuous": _rfid_of(
        README, "titok_readme_imagenet256/reconstruction_fid_continuous", "titok-256"
    ),
    "ta_titok_reconstruction": _Location(
        "TA-TiTok's README (bytedance/1d-tokenizer)",
        ("ta_titok_readme_imagenet256",),
        dataset="imagenet",
        protocol="titok-256",
    ),
    "llamagen_reconstruction": _rfid_of(
        "LlamaGen's README (FoundationVision/LlamaGen)", "llamagen_readme_imagenet256", "llamagen-256"
    ),
    "llamagen_reconstruction_larger": _rfid_of(  # there the photographs are of 384 and 512 px, and 256 px are compared
        "LlamaGen's README (FoundationVision/LlamaGen), photographs at 384 and 512 px",
        "llamagen_readme_imagenet_larger",
        "",
    ),
    "seed_voken_ibq": _rfid_of(SEED_VOKEN, "seed_voken_readme/imagenet256_ibq", "seed-voken-256-ibq"),
    "seed_voken": _rfid_of(SEED_VOKEN, "seed_voken_readme/imagenet256", "seed-voken-256"),
    "seed_voken_coco": _rfid_of(SEED_VOKEN, "seed_voken_readme/coco", "seed-voken-256", "coco"),
    "seed_voken_native": _rfid_of(
        f"{SEED_VOKEN}, original resolution",
        "seed_voken_readme/imagenet_original_resolution",
        "seed-voken-native",
    ),
    "titok_generation": _Location(README, ("titok_readme_imagenet256/generation_fid",), only_column="gfid"),
}


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        source: the paper or page, and the table in it.
        columns: names of the columns, in the printed order.
        rows: row -> column -> the number as printed, None where none is printed.
    """

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float | None]]


@cache
def _file() -> dict[str, Any]:
    """Return the content of `published.json`."""
    return json.loads((Path(__file__).parent / "published.json").read_text())


def _at(path: str) -> dict[str, Any]:
    """Return the object at a path of `published.json`."""
    value = _file()
    for key in path.split("/"):
        value = value[key]
    return value


@cache
def table(name: str) -> Table:
    """Return the published table of this name.

    Raises:
        KeyError: there is no table of this name; `names` lists them all.

    >>> table("generation").rows["sdxl"]["image_reward"], table("titok_generation").rows["titok-l32"]
    (0.82, {'gfid': 2.77})
    """
    location = _TABLES[name]
    printed: dict[str, Any] = {}
    for path in location.rows:
        printed |= _at(path)
    printed.pop("columns", None)  # an object may name its columns beside its rows
    if location.only_column is not None:
        columns = (location.only_column,)
        rows = {row: {location.only_column: value} for row, value in printed.items()}
    else:
        columns = tuple(_at(location.columns or location.rows[0])["columns"])
        rows = {row: dict(zip(columns, values, strict=True)) for row, values in printed.items()}
    return Table(location.source, columns, rows)


@dataclass(frozen=True)
class Claim:
    """A published number of a tokenizer's reconstructions.

    Attributes:
        tokenizer: the tokenizer's name in this project, or the name that it would have.
        metric: the name of the published column: "rfid", "psnr", "ssim", "lpips" or "inception_score".
        value: the number as printed.
        dataset: the data set's name.
        protocol: the protocol here that repeats its evaluation, "" where there is none or it is not known.
        source: who published it.
        instead_of: for a number that a user measured, the published one that was to be reproduced.
        note: how a user's number came about, "" for others.
    """

    tokenizer: str
    metric: str
    value: float
    dataset: str
    protocol: str
    source: str
    instead_of: float | None = None
    note: str = ""


@cache
def claims() -> tuple[Claim, ...]:
    """Return all published numbers of reconstructions, and those that users measured and could not reproduce.

    >>> [c.value for c in claims() if (c.tokenizer, c.metric, c.dataset) == ("titok-s128", "rfid", "imagenet")]
    [2.32, 1.71, 3.91]
    """
    found = []
    for name, location in _TABLES.items():
        if not location.dataset:
            continue
        for row, numbers in table(name).rows.items():
            for column, value in numbers.items():
                if value is not None:
                    tokenizer = TOKENIZERS.get(row, row)
                    found.append(Claim(tokenizer, column, value, location.dataset, location.protocol, location.source))
    return (*found, *(Claim(protocol="", **entry) for entry in _file()["reported_by_users"]))


def names() -> tuple[str, ...]:
    """Return the names of all published tables."""
    return tuple(_TABLES)


def row_of(name: str, rows: Mapping[str, object]) -> str | None:
    """Return the key of a system's row, or None where the table has none.

    Names of this project write the paper's stars out ("lactokgen-t-star"); the options after `@` are ignored.

    >>> row_of("lactokgen-t-star@guidance=2", table("generation").rows)
    'lactokgen-t*'
    """
    base = name.partition("@")[0].lower().replace("-star", "*")
    return base if base in rows else None
