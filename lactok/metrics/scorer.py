"""Compute metrics and features of uint8 images in small batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lactok.device import exact_float32
from lactok.errors import WrongValue
from lactok.metrics.registry import DistanceMetric, Features, ImageMetric, StateMetric, find

BATCH = 8  # images per call of a metric, fixed so that the values do not depend on the option `--batch-size`


class Scorer:
    """Compute a chosen set of metrics on one device.

    Args:
        keys: the keys of the metrics.
        device: the device on which networks run.

    Attributes:
        image: the metrics of single pairs of images.
        states: the metrics that are merged from one state per shard.
        features: the feature extractors that distances between sets need, by name.

    Raises:
        UserError: a key is unknown, or belongs to a plug-in that cannot be imported.
    """

    def __init__(self, keys: Sequence[str], device: str = "cpu"):
        self.device = device
        metrics = [find(key) for key in keys]
        self.image = [m for m in metrics if isinstance(m, ImageMetric)]
        self.states = [m for m in metrics if isinstance(m, StateMetric)]
        named = {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}
        self.features: dict[str, Features] = dict(sorted(named.items()))

    @property
    def dimensions(self) -> dict[str, int]:
        """The number of dimensions of each array of `describe`."""
        return {name: features.dimensions for name, features in self.features.items()}

    @torch.inference_mode()
    def describe(self, images: Tensor) -> dict[str, np.ndarray]:
        """Return the features of uint8 images (N, 3, H, W) by extractor; nothing for no images.

        They are (N, D) float32, or (N, R, D) where an image has R rows, see `Features.rows`.
        """
        found: dict[str, np.ndarray] = {}
        _check_images("images", images)
        if not len(images):
            return found
        with exact_float32():
            for name, features in self.features.items():
                parts = [features.compute(images[batch], self.device) for batch in batches(len(images), BATCH)]
                found[name] = np.concatenate(parts)
        return found

    @torch.inference_mode()
    def compare(self, references: Tensor, outputs: Tensor) -> dict[str, np.ndarray]:
        """Compare two uint8 batches (N, 3, R, R).

        Returns:
            Values (N,) float64 by the key of the metric, and the arrays of states by `key/name`; nothing for no images.

        Raises:
            WrongValue: the batches are no uint8 images, or not of one shape.
        """
        found: dict[str, np.ndarray] = {}
        _check_images("references", references)
        _check_images("outputs", outputs)
        if references.shape != outputs.shape:
            raise WrongValue(f"`outputs` {tuple(outputs.shape)}: as many of the same size as {tuple(references.shape)}")
        if not len(references):
            return found
        slices = batches(len(references), BATCH)
        with exact_float32():
            for metric in self.image:
                parts = [_image_values(metric, references[batch], outputs[batch], self.device) for batch in slices]
                found[metric.key] = torch.cat(parts).numpy()
            for state_metric in self.states:
                state = state_metric.state(references, outputs, self.device)
                for name, array in state.items():
                    found[f"{state_metric.key}/{name}"] = array
        return found


def _check_images(argument: str, images: Tensor) -> None:
    """Raise WrongValue, which names the argument, unless images are (N, 3, H, W) uint8; floats have another range."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise WrongValue(f"`{argument}` {tuple(images.shape)} {images.dtype}: images (N, 3, H, W) uint8, 0 to 255")


def _image_values(metric: ImageMetric, references: Tensor, outputs: Tensor, device: str) -> Tensor:
    """Return values (B,) float64 on the CPU; raise WrongValue if the metric does not return one number per pair."""
    found = torch.as_tensor(metric.compute(references, outputs, device))
    if tuple(found.shape) != (len(references),):
        raise WrongValue(
            f"metric {metric.key} gives {tuple(found.shape)} for {len(references)} pairs of images, not a number a pair"
        )
    return found.double().cpu()


def batches(n: int, size: int) -> list[slice]:
    """Return slices of length `size` that cover n items in order; the last one may be shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
