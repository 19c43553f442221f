"""Compute metrics and features of uint8 images in small batches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok.device import exact_float32
from lactok.errors import WrongValue
from lactok.metrics.registry import DistanceMetric, Features, ImageMetric, StateMetric, find

BATCH = 8  # images per call of a metric, fixed so that the values do not depend on the option `--batch-size`
PIXELS = 2**21  # and at most so many pixels, since what is known of the references is kept for the next tokenizer


class Scorer:
    """Compute a chosen set of metrics on one device.

    Args:
        keys: the keys of the metrics.
        device: the device on which networks run.
        fast: whether the networks of metrics that allow it compute in bfloat16.

    Attributes:
        image: the metrics of single pairs of images.
        states: the metrics that are merged from one state per shard.
        features: the feature extractors that distances between sets need, by name.

    Raises:
        UserError: a key is unknown, or belongs to a plug-in that cannot be imported.
    """

    def __init__(self, keys: Sequence[str], device: str = "cpu", fast: bool = False):
        self.device, self.fast = device, fast
        metrics = [find(key) for key in keys]
        self.image = [m for m in metrics if isinstance(m, ImageMetric)]
        self.states = [m for m in metrics if isinstance(m, StateMetric)]
        named = {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}
        self.features: dict[str, Features] = dict(sorted(named.items()))

    @property
    def dimensions(self) -> dict[str, int]:
        """The number of dimensions of each array of `describe`."""
        return {name: features.dimensions for name, features in self.features.items()}

    @property
    def reads_texts(self) -> bool:
        """Whether one of the metrics asks for the text that an image shows."""
        return any(metric.texts for metric in self.image)

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
                fast = {"fast": True} if self.fast and features.fast else {}
                parts = [features.compute(images[batch], self.device, **fast) for batch in batches(len(images), BATCH)]
                found[name] = np.concatenate(parts)
        return found

    def pieces(self, count: int, height: int, width: int) -> list[slice]:
        """Return the slices of so many images of one size that metrics of single pairs get together.

        They depend on the images' size alone, so that a value does not depend on what else is measured.
        """
        return batches(count, max(1, min(BATCH, PIXELS // (height * width))))

    @torch.inference_mode()
    def compare(self, references: Tensor, outputs: Tensor) -> dict[str, np.ndarray]:
        """Compare two uint8 batches (N, 3, H, W).

        Returns:
            Values (N,) float64 by the key of the metric, and the arrays of states by `key/name`, or by `key:name` where
            they have a row for each image; nothing for no images.

        Raises:
            WrongValue: the batches are no uint8 images, or not of one shape.
        """
        _check_pair(references, outputs)
        if not len(references):
            return {}
        parts = [
            self.values(references[piece], outputs[piece])
            for piece in self.pieces(len(references), *references.shape[-2:])
        ]
        found = {metric.key: np.concatenate([part[metric.key] for part in parts]) for metric in self.image}
        return found | self.states_of(references, outputs)

    @torch.inference_mode()
    def values(
        self,
        references: Tensor,
        outputs: Tensor,
        known: dict[str, Any] | None = None,
        only: Collection[str] | None = None,
        texts: Sequence[str | None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the metrics of single pairs of images, (B,) float64 by key, of one of the `pieces`.

        Args:
            references, outputs: uint8 batches (B, 3, H, W).
            known: what metrics know of these references, by key; what is missing is added, so that it is there for the
                outputs of the next tokenizer. None if there is no other.
            only: the keys of the metrics to compute, None for all.
            texts: the text that each reference shows, None where nobody knows it; None if all are unknown.
        """
        _check_pair(references, outputs)
        found: dict[str, np.ndarray] = {}
        with exact_float32():
            for metric in self.image:
                if only is not None and metric.key not in only:
                    continue
                fast = {"fast": True} if self.fast and metric.fast else {}
                given: dict[str, Any] = dict(fast)
                if metric.texts:
                    given["texts"] = [None] * len(references) if texts is None else list(texts)
                if known is not None and metric.reference_part is not None:
                    if metric.key not in known:
                        known[metric.key] = metric.reference_part(references, self.device, **fast)
                    given["known"] = known[metric.key]
                found[metric.key] = _image_values(metric, references, outputs, self.device, given).numpy()
        return found

    @torch.inference_mode()
    def states_of(self, references: Tensor, outputs: Tensor) -> dict[str, np.ndarray]:
        """Return the states of metrics of all images together, of uint8 batches (N, 3, H, W).

        They are arrays by `key/name`, or by `key:name` where they have a row for each image.
        """
        found: dict[str, np.ndarray] = {}
        with exact_float32():
            for metric in self.states:
                for name, array in metric.state(references, outputs, self.device).items():
                    found[f"{metric.key}{':' if metric.of_images else '/'}{name}"] = array
        return found


def _check_pair(references: Tensor, outputs: Tensor) -> None:
    """Raise WrongValue unless two batches are uint8 images of one shape."""
    _check_images("references", references)
    _check_images("outputs", outputs)
    if references.shape != outputs.shape:
        raise WrongValue(f"`outputs` {tuple(outputs.shape)}: as many of the same size as {tuple(references.shape)}")


def _check_images(argument: str, images: Tensor) -> None:
    """Raise WrongValue, which names the argument, unless images are (N, 3, H, W) uint8; floats have another range."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise WrongValue(f"`{argument}` {tuple(images.shape)} {images.dtype}: images (N, 3, H, W) uint8, 0 to 255")


def _image_values(
    metric: ImageMetric, references: Tensor, outputs: Tensor, device: str, given: dict[str, Any]
) -> Tensor:
    """Return values (B,) float64 on the CPU; raise WrongValue if the metric does not return one number per pair."""
    found = torch.as_tensor(metric.compute(references, outputs, device, **given))
    if tuple(found.shape) != (len(references),):
        raise WrongValue(
            f"metric {metric.key} gives {tuple(found.shape)} for {len(references)} pairs of images, not a number a pair"
        )
    return found.double().cpu()


def batches(n: int, size: int) -> list[slice]:
    """Return slices of length `size` that cover n items in order; the last one may be shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
