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


@metric("psnr", title="PSNR", higher=True, digits=2, unit="dB", default=True, cap=CAP)
def psnr(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the PSNR (B,) float64 in dB between uint8 images (B, 3, H, W), at most `CAP`."""
    import torch

    error = references.to(torch.int32) - outputs.to(torch.int32)
    mse = (error * error).double().mean((1, 2, 3)) / 255.0**2
    return (-10 * torch.log10(mse)).clamp(max=CAP)


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
    import torch

    errors = []
    for reference, output in zip(references, outputs, strict=True):
        error = reference.to(torch.int32) - output.to(torch.int32)
        errors.append(int((error * error).sum()))
    return {
        "squared_error": np.array(errors, np.int64),
        "count": np.full(len(references), references[0].numel(), np.int64),
    }
