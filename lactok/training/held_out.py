"""Figures of a tokenizer on held-out photographs while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.lpips import LPIPS
from lactok.training.data import Photo, centre_square, to_tensor

Reconstruct = Callable[[Tensor], tuple[Tensor, Tensor]]  # (1, 3, S, S) in [-1, 1] -> the same again, and its ids


def compare(
    photos: Sequence[Photo], size: int, reconstruct: Reconstruct, lpips: LPIPS
) -> tuple[dict[str, float], Tensor]:
    """PSNR (dB), LPIPS and the number of codes used on central squares, and four pairs of pictures in [-1, 1]."""
    device = next(lpips.parameters()).device
    psnr, distances = [], []
    pictures: list[Tensor] = []
    used: set[int] = set()
    for photo in photos:
        image = to_tensor([centre_square(photo.open_rgb(), size)]).to(device)
        output, ids = reconstruct(image)
        output = output.float().clamp(-1, 1)
        psnr.append(-10 * torch.log10(F.mse_loss(output, image) / 4))
        distances.append(lpips(output, image)[0])
        used.update(ids.flatten().tolist())
        if len(pictures) < 8:
            pictures += [image, output]
    values = {"psnr": float(torch.stack(psnr).mean()), "lpips": float(torch.stack(distances).mean())}
    return values | {"codes_used": float(len(used))}, torch.cat(pictures)
