"""Evaluation of a tokenizer on held-out photographs while it is trained."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.nn.lpips import LPIPS
from lactok.randomness import seed_of
from lactok.training.data import Photo, load_squares, report_broken
from lactok.training.distributed import each

# images (1, 3, S, S) in [-1, 1] and their seeds (1,) -> reconstructions (1, 3, S, S), and further values by name
Reconstruct = Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


class Comparison(NamedTuple):
    """Photographs and their reconstructions, compared.

    Attributes:
        values: the means of `psnr` (dB) and `lpips`.
        shown: the first photographs, each followed by its reconstruction, (N, 3, size, size) in [-1, 1].
        more: the further values of each photograph, by name.
    """

    values: dict[str, float]
    shown: Tensor
    more: dict[str, list[Tensor]]


LOOKED_AT = 500  # photographs whose sizes are looked at before a training
SHOWN = 4  # photographs that are shown beside their reconstructions


def seeds_of(photos: Sequence[Photo]) -> Tensor:
    """Return a seed for each held-out photograph, (N,) int64, which depends only on its name."""
    return torch.tensor([seed_of("held out", photo.name) for photo in photos])


def readable(photos: Sequence[Photo], out: Path) -> tuple[Photo, ...]:
    """Return the photographs that can be read; the others are listed in `out/broken.txt`.

    Raises:
        UserError: none can be read.
    """
    found = []
    for photo in photos:
        try:
            photo.open_rgb()
        except UserError:
            report_broken(str(photo), "not a readable image", out)
        else:
            found.append(photo)
    if photos and not found:
        raise UserError(f"none of the {len(photos)} held-out photographs can be read; see {out / 'broken.txt'}")
    return tuple(found)


def check_sizes(photos: Sequence[Photo], crop: int) -> None:
    """Raise UserError if a crop has more than twice the side of every photograph; of many, a few are looked at.

    Photographs are enlarged to the crop where they are smaller, and by more than that they say nothing of details.
    """
    largest = 0
    for photo in photos[:: max(1, len(photos) // LOOKED_AT)]:
        try:
            with Image.open(io.BytesIO(photo.read())) as image:
                largest = max(largest, min(image.size))
        except Exception:  # a broken photograph is passed over, and named when it is trained on
            continue
        if 2 * largest >= crop:
            return
    if largest:
        raise UserError(
            f"crop = {crop} is more than twice as large as every photograph (the largest has {largest} pixels along "
            "its shorter side); take a smaller crop or larger photographs"
        )


@dataclass(frozen=True)
class Score:
    """What is known of one photograph and its reconstruction; all tensors are on the CPU.

    Attributes:
        psnr: in dB.
        lpips: the distance.
        images: the photograph and its reconstruction (2, 3, S, S) where both are to be shown, else None.
        more: further values of the photograph by name.
    """

    psnr: Tensor
    lpips: Tensor
    images: Tensor | None
    more: Mapping[str, Tensor]


def compare(photos: Sequence[Photo], size: int, reconstruct: Reconstruct, lpips: LPIPS) -> Comparison:
    """Compare the central squares of photographs with their reconstructions; the processes share the photographs.

    Reconstructions are computed under autocast where the caller has it, PSNR and LPIPS in float32.

    Args:
        photos: the held-out photographs.
        size: side of the squares in pixels.
        reconstruct: the tokenizer.
        lpips: the network of LPIPS.
    """
    device = next(lpips.parameters()).device

    def score(item: tuple[int, Photo]) -> Score:
        number, photo = item
        image = load_squares([photo], size).to(device)
        found, more = reconstruct(image, seeds_of([photo]))
        output = found.float().clamp(-1, 1)
        with torch.autocast(device.type, enabled=False):
            psnr = -10 * torch.log10(F.mse_loss(output, image) / 4)
            distance = lpips(output, image)[0]
        shown = torch.cat([image, output]).cpu() if number < SHOWN else None
        return Score(psnr.cpu(), distance.cpu(), shown, {k: v.cpu() for k, v in more.items()})

    scores = list(each(list(enumerate(photos)), score))
    values = {
        "psnr": float(torch.stack([s.psnr for s in scores]).mean()),
        "lpips": float(torch.stack([s.lpips for s in scores]).mean()),
    }
    shown = torch.cat([s.images for s in scores if s.images is not None])
    more = {key: [s.more[key] for s in scores] for key in scores[0].more}
    return Comparison(values, shown, more)


def quality(
    photos: Sequence[Photo], size: int, reconstruct: Callable[[Tensor, Tensor], Tensor], lpips: LPIPS
) -> tuple[dict[str, float], Tensor]:
    """Return PSNR and LPIPS, and reconstructions beside their photographs; as `compare`, without further values."""
    values, shown, _ = compare(photos, size, lambda image, seeds: (reconstruct(image, seeds), {}), lpips)
    return values, shown


def codes_used(ids: Sequence[Tensor]) -> float:
    """Return the number of different codes in the ids of some photographs."""
    return float(len(torch.cat([i.flatten() for i in ids]).unique()))
