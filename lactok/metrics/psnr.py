"""The peak signal-to-noise ratio, PSNR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

CAP = 100.0  # dB; the value of equal images, which would be infinite


@metric("psnr", title="PSNR", higher=True, digits=2, unit="dB", default=True, cap=CAP)
def psnr(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the PSNR (B,) float64 in dB between uint8 images (B, 3, H, W), at most `CAP`."""
    import torch

    error = references.to(torch.int32) - outputs.to(torch.int32)
    mse = (error * error).double().mean((1, 2, 3)) / 255.0**2
    return (-10 * torch.log10(mse)).clamp(max=CAP)
