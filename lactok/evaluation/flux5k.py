"""FLUX-5K made anew: which recipe a folder of pictures must have been made by, and the manifest that says so.

The paper's FLUX-5K is not public, nor are its prompts. `python -m benchmarks.datasets make flux5k` makes another sample
of the same generator: one picture for each of COCO's 5,000 validation images, of the caption with the lowest annotation
id. The manifest lists what made the pictures and the digest of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lactok import outside_text
from lactok.errors import WrongValue
from lactok.evaluation.candidates import NotPublished
from lactok.evaluation.samples import Sample
from lactok.files import is_file
from lactok.outside_text import shown

MANIFEST = "manifest.json"
GENERATOR = "flux.1-dev"  # with the steps, guidance and size that its authors give, which are its defaults
DTYPE, SEED = "bfloat16", 0
PROMPTS = "COCO 2017 val, of each image the caption of the lowest annotation id"
SIZE = 5_000


def find(root: Path) -> tuple[Sample, ...]:
    """Return the pictures that a manifest lists; ids are their paths in the folder.

    Raises:
        NotPublished: there is no manifest, it is of another recipe or of fewer pictures, or one of these is not there.
    """
    manifest = read(root)
    wanted = {"generator": GENERATOR, "dtype": DTYPE, "seed": SEED, "prompts": PROMPTS}
    for key, value in wanted.items():
        if manifest.get(key) != value:
            raise NotPublished(f"its {MANIFEST} says {key} {shown(manifest.get(key))} instead of {value}")
    images = digests(manifest)
    if len(images) != SIZE:
        command = "python -m benchmarks.datasets make flux5k"
        raise NotPublished(f"its {MANIFEST} lists {len(images)} of {SIZE} pictures; `{command}` goes on")
    missing = [name for name in images if not is_file(root / name)]
    if missing:
        raise NotPublished(f"{len(missing)} of its pictures are missing, such as {shown(missing[0])}")
    texts = {entry["file"]: entry["prompt"] for entry in manifest["images"] if isinstance(entry.get("prompt"), str)}
    return tuple(Sample(name, root / name, texts.get(name)) for name in sorted(images))


def check_contents(root: Path, samples: Sequence[Sample]) -> None:
    """Raise NotPublished if a picture is not the one whose digest the manifest has."""
    images = digests(read(root))
    for sample in samples:
        if sample.content_sha256 != images[sample.id]:
            raise NotPublished(f"{sample.id} was changed: its digest is not that of {MANIFEST}")


def read(root: Path) -> dict[str, Any]:
    """Return a folder's manifest; raise NotPublished if there is none."""
    path = root / MANIFEST
    if not is_file(path):
        raise NotPublished(f"it has no {MANIFEST}, which `python -m benchmarks.datasets make flux5k` writes at its end")
    return outside_text.json_object(outside_text.read(path), shown(path, 200))


def digests(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of a manifest's pictures, by their paths in the folder.

    Raises:
        NotPublished: an entry is damaged, or leads out of the folder.
    """
    found: dict[str, str] = {}
    try:
        for entry in manifest["images"]:
            name, sha256 = str(entry["file"]), str(entry["sha256"])
            if Path(name).is_absolute() or ".." in Path(name).parts or name in found:
                raise ValueError(name)
            found[name] = sha256
    except (KeyError, TypeError, ValueError, WrongValue) as error:
        raise NotPublished(f"its {MANIFEST} is damaged ({shown(repr(error), 80)})") from error
    return found
