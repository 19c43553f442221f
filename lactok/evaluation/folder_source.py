"""A folder of somebody's reconstructions as a source, matched by name to the photographs that they are of."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lactok import images
from lactok.errors import WrongValue, first_few
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample, samples_under
from lactok.evaluation.names import HOW_MATCHED, matched
from lactok.evaluation.protocol import digest
from lactok.evaluation.sources import Source
from lactok.outside_text import shown

MISSING = "no reconstruction of its own"  # why a photograph without one is left out
KEPT_OPEN = 64  # reconstructions of one shard
logger = logging.getLogger(__name__)


class FolderSource(Source):
    """A folder of somebody's reconstructions; `lactok.evaluation.names.matched` says which photograph each is of.

    Args:
        folder: the folder.
        references: ids of all photographs, also those that are not measured: a reconstruction may be of one of them.
        bits: the number of bits that an image takes, where it is known.
        name: the name in tables and results; by default `images-`, the folder's, and digits of the images' hash.

    Attributes:
        unmatched: the names of the files in the folder that are of no photograph.

    Raises:
        WrongValue: `bits` is no number above 0; the folder holds no images, none of them is of a photograph, or a name
            could be of several.
    """

    def __init__(self, folder: Path, references: Sequence[str], bits: float | None = None, name: str | None = None):
        if bits is not None and (
            isinstance(bits, bool) or not isinstance(bits, int | float) or not 0 < bits < math.inf
        ):
            raise WrongValue(f"`bits` {bits!r}: a number above 0, the bits that an image takes")
        self.bits = bits
        files = {sample.id: sample for sample in samples_under(folder)}
        pairs = matched(references, files, "reconstructions")
        if not pairs:
            raise WrongValue(
                f"{folder}: no image in it is the reconstruction of a photograph. {HOW_MATCHED.capitalize()}; "
                f"a photograph is {references[0]}, an image in {folder} is {next(iter(files))}"
            )
        self._opened: dict[tuple[str, bool], Image.Image] = {}
        self._files = {photograph: files[name] for photograph, name in pairs.items()}
        self.unmatched = sorted(files.keys() - set(pairs.values()))
        self.name = name or f"images-{folder.resolve().name}-{_content(files.values())[:6]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    def check(self, sample: Sample, run: Run) -> None:
        made, how = self._open(sample, run), run.protocol.prepare
        while len(self._opened) >= KEPT_OPEN:
            self._opened.pop(next(iter(self._opened)))
        self._opened[sample.id, how.upright] = made
        if how.keeps_shape:
            photograph = sample.open(how.upright)
            if not _same_aspect(photograph.size, made.size):
                sizes = "{}x{} pixels, its photograph {}x{}".format(*made.size, *photograph.size)
                raise images.UnreadableImage(f"its reconstruction has {sizes}: the same shape is needed")

    def _open(self, sample: Sample, run: Run) -> Image.Image:
        """Return a sample's reconstruction, read as its photograph is; raise UnreadableImage if there is none.

        One that `check` has opened is kept for `outputs`, so that it is opened once.
        """
        opened = self._opened.pop((sample.id, run.protocol.prepare.upright), None)
        if opened is not None:
            return opened
        made = self._files.get(sample.id)
        if made is None:
            raise images.UnreadableImage(MISSING)
        try:
            return made.open(run.protocol.prepare.upright)
        except images.UnreadableImage as error:
            name = shown(PurePosixPath(made.id).name)
            raise images.UnreadableImage(f"its reconstruction {name} cannot be used: {error}") from error

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "family": "images",
            "tokens": None,
            "codebook_size": None,
            "bits": self.bits,
            "decode_steps": None,
            "options": {},
            "license": "-",
            "note": "scored from files",
            "assets": [],
        }

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        files = [self._files.get(s.id) for s in samples]
        return digest(
            {
                "images": [
                    [s.id, s.sha256, None if f is None else f.content_sha256]
                    for s, f in zip(samples, files, strict=True)
                ],
                "prepare": run.protocol.prepare_hash,
                "bits": self.bits,
                "pillow": version("pillow"),
            }
        )

    def outputs(
        self, references: list[np.ndarray], samples: Sequence[Sample], ids: Tensor | None, run: Run
    ) -> tuple[Tensor, Tensor]:
        """Return the reconstructions, prepared as the photographs are: the same crop, the same filter.

        Under protocols that keep the size of photographs, a reconstruction of another size is resized by antialiased
        bicubic to the size of its photograph.
        """
        how = run.protocol.prepare
        arrays = []
        for sample, reference in zip(samples, references, strict=True):
            picture, size = self._open(sample, run), (reference.shape[1], reference.shape[0])
            if how.keeps_shape and picture.size != size:
                picture = picture.resize(size, images.BICUBIC)
            arrays.append(images.prepare(picture, how))
        planes = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
        made = torch.stack(planes)
        if run.protocol.score.references == "rounded":  # what that does to the references happens to their copies too
            made = images.to_uint8(made.float() / 255, run.protocol.score.rounding)
        bits = self.bits if self.bits is not None else float("nan")
        return made, torch.full((len(planes),), bits, dtype=torch.float64)

    def warn_of_shapes(self, samples: Sequence[Sample], upright: bool) -> None:
        """Log a line that names the first reconstructions whose aspect is not that of their photograph.

        Such an image is measured all the same, by its central square: a square one may show just that.

        Args:
            samples: the photographs that are measured; only the headers of the files are read.
            upright: whether images are turned as their EXIF orientation says.
        """
        odd = []
        for sample in samples:
            file = self._files.get(sample.id)
            if file is not None:
                photograph, made = sample.size(upright), file.size(upright)
                if photograph and made and not _same_aspect(photograph, made):
                    sizes = "{}x{}, its photograph {}x{}".format(*made, *photograph)
                    odd.append(f"{PurePosixPath(file.id).name} ({sizes})")
        if odd:
            logger.warning(
                "warning: %d of %d reconstructions have another aspect than their photographs: %s; "
                "of each image the central square is compared",
                len(odd),
                len(samples),
                first_few(odd, 3),
            )


def _content(files: Iterable[Sample]) -> str:
    """Return the hash of a folder's images: their names without endings, and their bytes."""
    by_stem: dict[str, list[Sample]] = {}
    for file in files:
        by_stem.setdefault(PurePosixPath(file.id).with_suffix("").as_posix(), []).append(file)
    return digest([[stem, [file.content_sha256 for file in some]] for stem, some in by_stem.items()])


def _same_aspect(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether one size is the other scaled, but for one pixel of the smaller image.

    >>> _same_aspect((500, 375), (256, 192)), _same_aspect((500, 375), (256, 256))
    (True, False)
    """
    small, large = sorted((first, second), key=min)
    scale = min(small) / min(large)
    return all(abs(s - side * scale) <= 1 for s, side in zip(small, large, strict=True))
