"""Evaluation of a tokenizer on held-out photographs while it is trained."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lactok.errors import UserError
from lactok.nn.lpips import LPIPS
from lactok.randomness import seed_of
from lactok.training.data import Photo, load_squares, report_broken

# images (1, 3, S, S) in [-1, 1] and their seeds (1,) -> reconstructions (1, 3, S, S)
Reconstruct = Callable[[Tensor, Tensor], Tensor]
# images (1, 3, S, S) in [-1, 1] -> reconstructions (1, 3, S, S), and the ids that they were decoded from
ReconstructWithIds = Callable[[Tensor], tuple[Tensor, Tensor]]

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


def compare(
    photos: Sequence[Photo], size: int, reconstruct: Reconstruct, lpips: LPIPS
) -> tuple[dict[str, float], Tensor]:
    """Compare the central squares of photographs with their reconstructions.

    Args:
        photos: the held-out photographs.
        size: side of the squares in pixels.
        reconstruct: the tokenizer.
        lpips: the network of LPIPS.

    Returns:
        The means of `psnr` (dB) and `lpips`, and the first photographs, each followed by its reconstruction, as images
        (N, 3, size, size) in [-1, 1].
    """
    device = next(lpips.parameters()).device
    psnr, distances = [], []
    shown: list[Tensor] = []
    for photo in photos:
        image = load_squares([photo], size).to(device)
        output = reconstruct(image, seeds_of([photo])).float().clamp(-1, 1)
        psnr.append(-10 * torch.log10(F.mse_loss(output, image) / 4))
        distances.append(lpips(output, image)[0])
        if len(shown) < 2 * SHOWN:
            shown += [image, output]
    values = {"psnr": float(torch.stack(psnr).mean()), "lpips": float(torch.stack(distances).mean())}
    return values, torch.cat(shown)


def compare_and_count_codes(
    photos: Sequence[Photo], size: int, reconstruct: ReconstructWithIds, lpips: LPIPS
) -> tuple[dict[str, float], Tensor]:
    """As `compare`, with the number of different codes that the photographs use, `codes_used`."""
    used: set[int] = set()

    def reconstruct_and_note_ids(image: Tensor, seeds: Tensor) -> Tensor:
        output, ids = reconstruct(image)
        used.update(ids.flatten().tolist())
        return output

    values, shown = compare(photos, size, reconstruct_and_note_ids, lpips)
    return values | {"codes_used": float(len(used))}, shown
