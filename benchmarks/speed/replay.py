"""Photographs and stored reconstructions of them, so that metrics are timed without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lactok.errors import WrongValue
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample, file_sha256
from lactok.evaluation.protocol import digest
from lactok.evaluation.sources import Source
from lactok.images import EXTENSIONS, Prepare, UnreadableImage, open_photograph, prepare
from lactok.outside_text import shown

FACTORS = (4, 5, 6, 8, 10)  # by which the reconstructions of the tokenizers are smaller before they are enlarged again


def make(folder: Path, count: int, resolution: int, tokenizers: int, given: Path | None = None) -> None:
    """Write photographs and reconstructions into a folder.

    Args:
        folder: gets `photographs/*.png` and, for tokenizer k, `k/*.npy`, arrays (R, R, 3) uint8.
        count: the number of photographs.
        resolution: their side in pixels.
        tokenizers: the number of tokenizers, at most as many as `FACTORS`.
        given: a folder of the user's photographs; without it, windows of the photographs of scikit-image and
            scikit-learn are enlarged.

    Raises:
        WrongValue: the user's folder holds too few images, or one that cannot be read.
    """
    sources = _of_folder(given) if given else _of_libraries()
    if given and len(sources) < count:
        raise WrongValue(f"`photographs`: {given} holds {len(sources)} images; use fewer `images`")
    rng = np.random.default_rng(0)
    (folder / "photographs").mkdir(parents=True)
    for i in range(count):
        image = sources[i % len(sources)]
        try:
            picture = open_photograph(image) if isinstance(image, Path) else _window(image, rng, resolution)
        except UnreadableImage as error:
            raise WrongValue(f"`photographs`: {shown(str(image), 200)}: {error}; take it away") from error
        photograph = Image.fromarray(prepare(picture, Prepare(resolution)))
        photograph.save(folder / "photographs" / f"{i:05}.jpg", quality=95)
        reference = np.asarray(open_photograph(folder / "photographs" / f"{i:05}.jpg"))
        for k, factor in enumerate(FACTORS[:tokenizers]):
            side = resolution // factor
            small = Image.fromarray(reference).resize((side, side), Image.Resampling.BICUBIC)
            made = np.asarray(small.resize((resolution, resolution), Image.Resampling.BICUBIC))
            (folder / str(k)).mkdir(exist_ok=True)
            np.save(folder / str(k) / f"{i:05}.npy", made)


def _window(image: np.ndarray, rng: np.random.Generator, resolution: int) -> Image.Image:
    """Return a random square window of an image (H, W, 3), of a half to all of its shorter side, enlarged."""
    shorter = min(image.shape[:2])
    side = int(rng.integers(shorter // 2, shorter + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
    window = Image.fromarray(image[top : top + side, left : left + side])
    return window.resize((resolution, resolution), Image.Resampling.BICUBIC)


def _of_libraries() -> list[np.ndarray]:
    """Return the colour photographs that scikit-image and scikit-learn bring along, (H, W, 3) uint8 each."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    found = [data.astronaut(), data.coffee(), data.chelsea()]
    return found + list(load_sample_images().images)


def _of_folder(folder: Path) -> list[Path]:
    """Return the images of a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)


class ReplaySource(Source):
    """A tokenizer whose reconstructions are stored, so that no network takes time.

    Args:
        folder: holds an array (R, R, 3) uint8 for each photograph, `STEM.npy`.
        name: the row's name.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name

    def _file(self, sample: Sample) -> Path:
        return self.folder / f"{Path(sample.id).stem}.npy"

    def describe(self) -> dict[str, Any]:
        """Return the part `tokenizer` of the result."""
        described = dict.fromkeys(("tokens", "codebook_size", "bits", "decode_steps"))
        about = {"name": self.name, "family": "replay", "license": "-", "note": "stored", "options": {}, "assets": []}
        return described | about

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        """Return the hash of the stored reconstructions of these samples."""
        return digest([run.protocol.prepare_hash, [[s.id, s.sha256, file_sha256(self._file(s))] for s in samples]])

    def outputs(
        self, references: list[np.ndarray], samples: Sequence[Sample], ids: Tensor | None, run: Run
    ) -> tuple[Tensor, Tensor]:
        """Return the stored reconstructions (B, 3, R, R) uint8, and no bits."""
        planes = [torch.from_numpy(np.load(self._file(sample))).permute(2, 0, 1) for sample in samples]
        return torch.stack(planes).contiguous(), torch.full((len(planes),), float("nan"), dtype=torch.float64)
