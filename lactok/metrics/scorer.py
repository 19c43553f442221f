"""From pairs of uint8 images to the numbers of a protocol, with every network loaded once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lactok.device import exact_float32
from lactok.errors import WrongValue
from lactok.metrics.registry import DistanceMetric, Features, ImageMetric, StateMetric, find

BATCH = 8  # images at a time, whatever `batch_size` says, so that the numbers do not depend on it


class Scorer:
    """Some metrics on one device.

    Attributes:
        features: what is stored of every image, by name.
    """

    def __init__(self, keys: Sequence[str], device: str = "cpu"):
        self.device = device
        metrics = [find(key) for key in keys]
        self.image = [m for m in metrics if isinstance(m, ImageMetric)]
        self.states = [m for m in metrics if isinstance(m, StateMetric)]
        named = {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}
        self.features: dict[str, Features] = dict(sorted(named.items()))

    @torch.inference_mode()
    def describe(self, images: Tensor) -> dict[str, np.ndarray]:
        """Features of uint8 images (N, 3, H, W), (N, D) float32 by name."""
        with exact_float32():
            return {
                name: np.concatenate([features.compute(images[b], self.device) for b in batches(len(images), BATCH)])
                for name, features in (self.features.items() if len(images) else ())
            }

    @torch.inference_mode()
    def compare(self, references: Tensor, outputs: Tensor) -> dict[str, np.ndarray]:
        """Metrics of single images of two uint8 batches (N, 3, R, R), (N,) float64 by key; and states by key/name."""
        out: dict[str, np.ndarray] = {}
        with exact_float32():
            for metric in self.image if len(references) else ():
                parts = [
                    _values(metric, references[b], outputs[b], self.device) for b in batches(len(references), BATCH)
                ]
                out[metric.key] = torch.cat(parts).numpy()
            for state in self.states if len(references) else ():
                found = state.state(references, outputs, self.device)
                out |= {f"{state.key}/{name}": array for name, array in found.items()}
        return out


def _values(metric: ImageMetric, references: Tensor, outputs: Tensor, device: str) -> Tensor:
    """(B,) float64 on the CPU; raises WrongValue where a metric does not give a number an image."""
    found = torch.as_tensor(metric.compute(references, outputs, device))
    if tuple(found.shape) != (len(references),):
        raise WrongValue(
            f"metric {metric.key} gives {tuple(found.shape)} for {len(references)} pairs of images, not a number a pair"
        )
    return found.double().cpu()


def batches(n: int, size: int) -> list[slice]:
    """Slices of at most `size` over n things."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
