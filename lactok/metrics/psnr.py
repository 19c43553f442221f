"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

CAP = 100.0  # dB; equal images would be infinite


@metric("psnr", title="PSNR", higher=True, digits=2, unit="dB", default=True, cap=CAP)
def psnr(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """dB of uint8 batches (B, 3, H, W) -> (B,) float64, capped at `CAP`."""
    import torch

    error = references.to(torch.int32) - outputs.to(torch.int32)
    mse = (error * error).double().mean((1, 2, 3)) / 255.0**2
    return (-10 * torch.log10(mse)).clamp(max=CAP)
