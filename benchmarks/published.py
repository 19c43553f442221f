"""The numbers that papers print, read from `published.json`; each table comes with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PAPER = "arXiv 2503.08377"
README = "TiTok's README (bytedance/1d-tokenizer)"


@dataclass(frozen=True)
class _Location:
    """Where a table lies in `published.json`. A path is a chain of keys, joined by "/".

    Attributes:
        source: the paper or page, and the table in it.
        rows: paths of the objects that hold the rows; the rows of all of them make up the table.
        columns: path of the object whose "columns" names the columns; by default the object of the rows.
        only_column: name of the column of a table whose rows are single numbers; such a table lists no columns.
    """

    source: str
    rows: tuple[str, ...]
    columns: str | None = None
    only_column: str | None = None


_TABLES = {
    "recon_imagenet": _Location(f"{PAPER}, Table 1, ImageNet", ("recon/imagenet50k",), columns="recon"),
    "recon_coco": _Location(f"{PAPER}, Table 1, MSCOCO-2017", ("recon/coco2017-5k",), columns="recon"),
    "recon_mjhq": _Location(f"{PAPER}, Table 2, MJHQ-5K", ("recon/mjhq-5k",), columns="recon"),
    "recon_flux5k": _Location(f"{PAPER}, Table 2, FLUX-5K", ("recon/flux-5k",), columns="recon"),
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
    "titok_reconstruction": _Location(README, ("titok_readme_imagenet256/reconstruction_fid",), only_column="rfid"),
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
