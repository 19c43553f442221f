"""The pictures that a run kept, by sample: reconstructions and the prepared photographs beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath  # which minds both kinds of slashes
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.evaluation.results import ReconResult

if TYPE_CHECKING:
    from PIL.Image import Image

REASONS = ("chosen", "best", "worst")


@dataclass(frozen=True)
class Picture:
    """A kept reconstruction.

    Attributes:
        why: of "chosen", "best", "worst".
        reference: the prepared photograph.
    """

    sample: str
    path: Path
    reference: Path
    why: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """A row's pictures by sample; rows of one `references` were made of the same prepared photographs."""

    references: str
    by_sample: Mapping[str, Picture]


def stored(result: ReconResult) -> Pictures | None:
    """What a row's `images/index.json` names; None where there is none, as in runs of older versions.

    Raises:
        UserError: the index is damaged or names files outside its folders.
    """
    path = result.folder / "images" / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        references = _inside(index["references"])
        root = result.folder.parent / "references" / references
        found = {}
        for entry in index["pictures"]:
            file, why = _inside(entry["file"]), tuple(w for w in REASONS if w in entry["why"])
            sample = str(entry["sample"])
            found[sample] = Picture(sample, path.parent / file, root / file, why)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{result.name}/images/index.json is damaged ({error}); run the same command again") from error
    return Pictures(references, found)


def _inside(name: object) -> str:
    if not isinstance(name, str) or name in ("", "..") or PureWindowsPath(name).name != name:
        raise ValueError(f"{name!r} is not a file's name")
    return name


def opened(path: Path) -> Image:
    """A stored picture as RGB.

    Raises:
        UserError: missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's errors have no common class
        what = "missing" if not path.is_file() else "damaged"
        shown = "/".join(path.parts[-3:])
        raise UserError(f"the picture {shown} is {what}; run the command that made it again") from error
