"""The pictures that a reconstruction run has stored: some reconstructions, and the prepared photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.evaluation.error_profile import WORST
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.results import ReconResult
from lactok.evaluation.stored_files import is_plain_name, read_json

if TYPE_CHECKING:
    from PIL.Image import Image

# why a picture was stored: it was chosen before the run, or it is among the best or the worst ones
REASONS = ("chosen", "best", "worst", *WORST)


@dataclass(frozen=True)
class StoredPicture:
    """A stored reconstruction.

    Attributes:
        sample: the id of the sample.
        path: the file of the reconstruction.
        reference: the file of the prepared photograph.
        why: why it was stored, of `REASONS`.
    """

    sample: str
    path: Path
    reference: Path
    why: tuple[str, ...]


@dataclass(frozen=True)
class StoredPictures:
    """The pictures of a run.

    Attributes:
        references: the folder of the prepared photographs; runs with the same one have the same photographs.
        by_sample: the pictures by sample id.
    """

    references: str
    by_sample: Mapping[str, StoredPicture]


def stored_pictures(result: ReconResult) -> StoredPictures | None:
    """Return the pictures that a run's `images/index.json` names, or None where there is none, as in older runs.

    Raises:
        UserError: the index is damaged or names files outside its folders.
    """
    path = result.folder / "images" / "index.json"
    if not path.exists():
        return None
    try:
        index = read_json(path)
        references = _inside(index["references"])
        root = result.folder.parent / "references" / references
        found = {}
        for entry in index["pictures"]:
            file, why = _inside(entry["file"]), tuple(w for w in REASONS if w in entry["why"])
            sample = str(entry["sample"])
            found[sample] = StoredPicture(sample, path.parent / file, root / file, why)
    except (Damaged, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{result.name}/images/index.json is damaged ({error}); run the same command again") from error
    return StoredPictures(references, found)


def _inside(name: object) -> str:
    """Return a file's name; raise ValueError for anything that could lead out of its folder."""
    if not is_plain_name(name):
        raise ValueError(f"{str(name)[:40]!a} is not a file's name")
    return str(name)


def open_picture(path: Path) -> Image:
    """Open a stored picture as RGB.

    Raises:
        UserError: the file is missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's errors have no common class
        what = "missing" if not path.is_file() else "damaged"
        shown = "/".join(path.parts[-3:])
        raise UserError(f"the picture {shown} is {what}; run the command that made it again") from error
