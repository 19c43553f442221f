"""Metrics of torchmetrics as they are: of pairs, image by image, and of sets, by their own state.

A class whose `update` takes `real` compares two sets: its state is kept for each shard, and the states are joined as
torchmetrics joins those of several processes. Every other class is given one pair at a time, and the metric is the mean
over images. Images are float32 in [0, 1]; `data_range=1.0` and `normalize=True` are set where the class has them and
nothing else is said. What a class draws at random it draws from the same seed every time.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lactok.errors import UserError, WrongValue, unknown
from lactok.metrics.registry import TORCHMETRICS, ImageMetric, Metric, StateMetric

if TYPE_CHECKING:
    import torchmetrics
    from torch import Tensor

SUITED: dict[str, Any] = {"data_range": 1.0, "normalize": True}  # to float32 images in [0, 1]
KINDS: dict[str, Any] = {"data_range": object, "normalize": bool}  # MS-SSIM has a `normalize` of another meaning
BATCH = 8  # images of a set at a time


@lru_cache(maxsize=64)
def by_name(key: str) -> Metric:
    """The metric of `torchmetrics:CLASS[@option=value,...]`.

    Raises:
        UnknownName, WrongValue: no such class, or one that does not compare images; an option that it refuses.

    >>> by_name("torchmetrics:StructuralSimilarityIndexMeasure@kernel_size=7").head
    'StructuralSimilarityIndexMeasure@kernel_size=7 ↑'
    """
    import torchmetrics.image

    name, _, text = key.removeprefix(TORCHMETRICS).partition("@")
    classes = {k: v for k, v in vars(torchmetrics.image).items() if isinstance(v, type)}
    if name not in classes:
        raise unknown("class of torchmetrics.image", name, classes)
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        option, equals, value = part.partition("=")
        if not equals:
            raise WrongValue(f"metric {key}: write {option}=VALUE")
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[option] = value  # a word
    return adapted(key, classes[name], options)


def adapted(key: str, kind: type[torchmetrics.Metric], options: Mapping[str, Any], library: str = "") -> Metric:
    """A class of torchmetrics as a metric of this project.

    Args:
        key: the metric's.
        kind: the class.
        options: for its constructor.
        library: the installed package that has the class, where that is not torchmetrics.

    Raises:
        WrongValue: it cannot be made with these options, or is not of pairs or sets of images.
    """
    accepted = inspect.signature(kind.__init__).parameters
    takes = list(inspect.signature(kind.update).parameters.values())[1:]
    names = [parameter.name for parameter in takes]
    plain = all("dict" not in str(parameter.annotation) for parameter in takes)
    is_of_sets = "real" in names
    if not is_of_sets and (names[:2] not in (["preds", "target"], ["img1", "img2"]) or not plain):
        raise WrongValue(f"metric {key} takes {', '.join(names)}; it must be of two images or of two sets of images")
    suited = {k: v for k, v in SUITED.items() if k in accepted and isinstance(accepted[k].default, KINDS[k])}
    given = suited | dict(options)
    if odd := [k for k in options if k not in accepted]:  # torchmetrics says no more than that there are some
        own = [k for k in accepted if k not in ("self", "args", "kwargs")]
        raise unknown(f"option of {kind.__name__}", odd[0], own)
    with _one_line(key, "cannot be made"), _seeded():
        made = kind(**given)
    made.distributed_available_fn = _alone
    if made.higher_is_better is None:
        raise WrongValue(f"metric {key}: torchmetrics does not say whether higher is better, so it cannot be ranked")
    common: dict[str, Any] = {
        "key": key,
        "title": key.removeprefix(TORCHMETRICS),
        "higher": bool(made.higher_is_better),
        "own": False,
        "libraries": ("torchmetrics", library) if library else ("torchmetrics",),
    }
    if is_of_sets:
        sets = _Sets(key, made)
        return StateMetric(**common, state=sets.state, merge=sets.merge)
    return ImageMetric(**common, compute=_Pairs(key, made))


def _alone() -> bool:
    """What torchmetrics asks: no other process has a part of these images, also where several train together."""
    return False


@dataclass(frozen=True)
class _Pairs:
    """A metric of two images, as `ImageMetric.compute`."""

    key: str
    metric: torchmetrics.Metric

    def __call__(self, references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
        """(B,) float64, each pair by itself."""
        metric = self.metric.to(device)
        values = []
        for reference, output in zip(references, outputs, strict=True):
            _emptied(metric)
            with _one_line(self.key, "cannot compare these images"), _seeded():
                metric.update(*(image[None].to(device).float() / 255 for image in (output, reference)))
                found = metric.compute()
            if not isinstance(found, torch.Tensor) or found.numel() != 1:
                raise WrongValue(f"metric {self.key} gives more than one number a pair of images")
            values.append(found.double().reshape(()).cpu())
        return torch.stack(values)


@dataclass(frozen=True)
class _Sets:
    """A metric of two sets, as `StateMetric.state` and `StateMetric.merge`."""

    key: str
    metric: torchmetrics.Metric

    def state(self, references: Tensor, outputs: Tensor, device: str = "cpu") -> dict[str, np.ndarray]:
        """The metric's state after a shard; lists of tensors are stored as one, end to end."""
        metric = self.metric.to(device)
        _emptied(metric)
        out = {}
        with _one_line(self.key, "cannot compare these images"), _seeded():
            for images, real in ((references, True), (outputs, False)):
                for start in range(0, len(images), BATCH):
                    metric.update(images[start : start + BATCH].to(device).float() / 255, real=real)
            for name in metric._defaults:
                value = getattr(metric, name)
                whole = torch.cat([torch.atleast_1d(v) for v in value]) if isinstance(value, list) else value
                out[name] = whole.cpu().numpy().copy()  # the metric adds to its own
        _emptied(metric)
        return out

    def merge(self, states: Sequence[Mapping[str, np.ndarray]]) -> float:
        """What the metric says of all shards' states, in their order; the first number where it gives several."""
        metric = self.metric.to("cpu")
        _emptied(metric)
        with _one_line(self.key, "cannot be computed"), _seeded():
            for name, default in metric._defaults.items():
                parts = [torch.from_numpy(np.asarray(state[name]).copy()) for state in states]
                joined: Any = parts if isinstance(default, list) else torch.stack(parts)
                reduce = metric._reductions[name]
                setattr(metric, name, joined if reduce is None else reduce(joined))  # type: ignore[operator]
            metric._update_count = len(states)
            found = metric.compute()
        _emptied(metric)
        return float(found[0] if isinstance(found, tuple) else found)


def _emptied(metric: torchmetrics.Metric) -> None:
    """Forget all images, also those that a class keeps over its own `reset`."""
    import torchmetrics

    for name, default in metric._defaults.items():
        setattr(metric, name, [] if isinstance(default, list) else default.clone().to(metric.device))
    torchmetrics.Metric.reset(metric)


@contextlib.contextmanager
def _one_line(key: str, what: str) -> Iterator[None]:
    """What torchmetrics finds wrong, as the user's mistake in naming the metric; memory that is full is not one."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a wrong option, a package that the class needs, an image that is too small
        text = " ".join(str(error).split()) or type(error).__name__
        raise WrongValue(f"metric {key} {what}: {text}") from error


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Torch's own random numbers from a fixed seed, and as they were afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield
