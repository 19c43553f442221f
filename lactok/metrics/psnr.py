"""The peak signal-to-noise ratio, PSNR: the mean of the images' own values, and that of the pooled squared error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CAP = 100.0  # dB; the value of equal images, which would be infinite
EXACT = 256  # squares of differences of uint8 whose sum is below 2^24


@metric("psnr", title="PSNR", higher=True, digits=2, unit="dB", default=True, cap=CAP)
def psnr(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the PSNR (B,) float64 in dB between uint8 images (B, 3, H, W), at most `CAP`."""
    import torch

    mse = squared_errors(references, outputs).double() / references[0].numel() / 255.0**2
    return (-10 * torch.log10(mse)).clamp(max=CAP)


def squared_errors(references: Tensor, outputs: Tensor) -> Tensor:
    """Return the exact sums of squared differences (B,) int64 between uint8 images (B, 3, H, W).

    A float32 sum of `EXACT` squares is exact, since it is a whole number below 2^24.
    """
    import torch

    found = []
    for reference, output in zip(references, outputs, strict=True):
        error = (reference.to(torch.int16) - output.to(torch.int16)).flatten().float()
        whole = len(error) // EXACT * EXACT
        squares = error.square_()
        sums = squares[:whole].view(-1, EXACT).sum(1).sum(dtype=torch.float64)
        found.append(sums + squares[whole:].sum(dtype=torch.float64))
    return torch.stack(found).long()


def pooled(states: Sequence[Mapping[str, np.ndarray]]) -> float:
    """Return the PSNR in dB of the squared error pooled over the images of all shards, at most `CAP`.

    Args:
        states: of each shard the images' sums of squared errors and numbers of values, see `psnr_pooled`.
    """
    error = sum(int(state["squared_error"].sum()) for state in states)
    count = sum(int(state["count"].sum()) for state in states)
    return CAP if error == 0 else min(CAP, -10 * math.log10(error / count / 255**2))


@metric("psnr_pooled", title="PSNR pooled", higher=True, digits=2, unit="dB", merge=pooled)
def psnr_pooled(references: Tensor, outputs: Tensor, device: str = "cpu") -> dict[str, np.ndarray]:
    """Return of uint8 images (N, 3, H, W) each one's sum of squared errors and number of values, two (N,) int64.

    Their PSNR is that of the mean squared error over all values of all images, as torchmetrics' PeakSignalNoiseRatio
    with its default `elementwise_mean` and `data_range=1.0` gives. It is never above the mean of the images' own PSNR.
    """
    import numpy as np

    return {
        "squared_error": squared_errors(references, outputs).numpy(),
        "count": np.full(len(references), references[0].numel(), np.int64),
    }
