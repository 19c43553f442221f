"""Use the classes of torchmetrics.image as metrics.

A class whose `update` takes the argument `real` compares two sets of images: its state is stored for each shard, and
the states are merged as torchmetrics merges those of several processes. Every other class is given one pair of images
at a time, and the metric is the mean over images. Images are float32 in [0, 1]; the options `data_range=1.0` and
`normalize=True` are set where the class has them and the user does not set them. Random numbers of a class come from a
fixed seed.
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

# options that suit float32 images in [0, 1]
SUITABLE_OPTIONS: dict[str, Any] = {"data_range": 1.0, "normalize": True}
# an option is set only where its default is of this type: the `normalize` of MS-SSIM is a text of another meaning
OPTION_TYPES: dict[str, Any] = {"data_range": object, "normalize": bool}
BATCH = 8  # images per update of a metric of sets


@lru_cache(maxsize=64)
def by_name(key: str) -> Metric:
    """Return the metric of a key `torchmetrics:CLASS[@option=value,...]`; values are Python literals or plain words.

    Raises:
        UnknownName: there is no such class, or the class has no such option.
        WrongValue: the class does not compare images, or refuses the value of an option.

    >>> by_name("torchmetrics:StructuralSimilarityIndexMeasure@kernel_size=7").head
    'StructuralSimilarityIndexMeasure@kernel_size=7 ↑'
    """
    import torchmetrics.image

    name, _, text = key.removeprefix(TORCHMETRICS).partition("@")
    classes = {k: v for k, v in vars(torchmetrics.image).items() if isinstance(v, type)}
    if name not in classes:
        raise unknown("class of torchmetrics.image", name, classes)
    options: dict[str, Any] = {}
    for part in text.split(","):
        if not part:
            continue
        option, equals, value = part.partition("=")
        if not equals:
            raise WrongValue(f"metric {key}: write {option}=VALUE")
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[option] = value  # a word without quotes
    return adapted(key, classes[name], options)


def adapted(key: str, kind: type[torchmetrics.Metric], options: Mapping[str, Any], library: str = "") -> Metric:
    """Return a class of torchmetrics as a metric of this project.

    Args:
        key: the key of the metric.
        kind: the class.
        options: arguments of its constructor.
        library: the installed package that has the class, if that is not torchmetrics.

    Raises:
        UnknownName: the class has no such option.
        WrongValue: it refuses the value of an option, compares neither pairs nor sets of images, or does not say
            whether higher is better.
    """
    is_of_sets = _compares_sets(key, kind)
    made = _instantiate(key, kind, options)
    if made.higher_is_better is None:
        raise WrongValue(f"metric {key}: torchmetrics does not say whether higher is better, so it cannot be ranked")
    declaration: dict[str, Any] = {
        "key": key,
        "title": key.removeprefix(TORCHMETRICS),
        "higher": bool(made.higher_is_better),
        "own": False,
        "libraries": ("torchmetrics", library) if library else ("torchmetrics",),
    }
    if is_of_sets:
        set_metric = _SetMetric(key, made)
        return StateMetric(**declaration, state=set_metric.state, merge=set_metric.merge)
    return ImageMetric(**declaration, compute=_PairMetric(key, made))


def _compares_sets(key: str, kind: type[torchmetrics.Metric]) -> bool:
    """Return True for a class that compares two sets of images and False for one that compares two images.

    Raises:
        WrongValue: its `update` takes something else.
    """
    parameters = list(inspect.signature(kind.update).parameters.values())[1:]  # without self
    names = [parameter.name for parameter in parameters]
    if "real" in names:
        return True
    takes_dictionary = any("dict" in str(parameter.annotation) for parameter in parameters)
    if names[:2] not in (["preds", "target"], ["img1", "img2"]) or takes_dictionary:
        raise WrongValue(f"metric {key} takes {', '.join(names)}; it must be of two images or of two sets of images")
    return False


def _instantiate(key: str, kind: type[torchmetrics.Metric], options: Mapping[str, Any]) -> torchmetrics.Metric:
    """Call the constructor of a class with the user's options and the suitable ones that the user does not set.

    Raises:
        UnknownName: the class has no such option.
        WrongValue: it refuses the value of an option.
    """
    accepted = inspect.signature(kind.__init__).parameters
    for option in options:
        if option not in accepted:  # torchmetrics's own message would not name the options that there are
            known = [name for name in accepted if name not in ("self", "args", "kwargs")]
            raise unknown(f"option of {kind.__name__}", option, known)
    arguments = {}
    for name, value in SUITABLE_OPTIONS.items():
        if name in accepted and isinstance(accepted[name].default, OPTION_TYPES[name]):
            arguments[name] = value
    arguments |= options
    with as_wrong_value(key, "cannot be made"), fixed_seed():
        made = kind(**arguments)
    made.distributed_available_fn = _not_distributed
    return made


def _not_distributed() -> bool:
    """Tell torchmetrics that no other process holds a part of these images, also during training on several GPUs."""
    return False


@dataclass(frozen=True)
class _PairMetric:
    """Computes a torchmetrics metric of two images; an instance is an `ImageMetric.compute`."""

    key: str
    metric: torchmetrics.Metric

    def __call__(self, references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
        """Return one value per pair of uint8 images (B, 3, H, W), (B,) float64."""
        metric = self.metric.to(device)
        values = []
        for reference, output in zip(references, outputs, strict=True):
            _reset(metric)
            with as_wrong_value(self.key, "cannot compare these images"), fixed_seed():
                metric.update(output[None].to(device).float() / 255, reference[None].to(device).float() / 255)
                value = metric.compute()
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                raise WrongValue(f"metric {self.key} gives more than one number a pair of images")
            values.append(value.double().reshape(()).cpu())
        return torch.stack(values)


@dataclass(frozen=True)
class _SetMetric:
    """Computes a torchmetrics metric of two sets; its methods are `StateMetric.state` and `StateMetric.merge`."""

    key: str
    metric: torchmetrics.Metric

    def state(self, references: Tensor, outputs: Tensor, device: str = "cpu") -> dict[str, np.ndarray]:
        """Return the metric's state after one shard of uint8 images (N, 3, H, W).

        A state that is a list of tensors is stored as their concatenation.
        """
        metric = self.metric.to(device)
        _reset(metric)
        arrays = {}
        with as_wrong_value(self.key, "cannot compare these images"), fixed_seed():
            for images, real in ((references, True), (outputs, False)):
                for start in range(0, len(images), BATCH):
                    metric.update(images[start : start + BATCH].to(device).float() / 255, real=real)
            for name in metric._defaults:
                value = getattr(metric, name)
                if isinstance(value, list):
                    value = torch.cat([torch.atleast_1d(tensor) for tensor in value])
                arrays[name] = value.cpu().numpy().copy()  # a copy, since the metric changes its state in place
        _reset(metric)
        return arrays

    def merge(self, states: Sequence[Mapping[str, np.ndarray]]) -> float:
        """Return the value that the metric computes from the states of all shards, in order.

        Where the metric computes several numbers, as a mean with its standard deviation, the first one is returned.
        """
        metric = self.metric.to("cpu")
        _reset(metric)
        with as_wrong_value(self.key, "cannot be computed"), fixed_seed():
            for name, default in metric._defaults.items():
                parts = [torch.from_numpy(np.asarray(state[name]).copy()) for state in states]
                merged: Any = parts if isinstance(default, list) else torch.stack(parts)
                reduce: Any = metric._reductions[name]
                if reduce is not None:
                    merged = reduce(merged)
                setattr(metric, name, merged)
            metric._update_count = len(states)
            value = metric.compute()
        _reset(metric)
        return float(value[0] if isinstance(value, tuple) else value)


def _reset(metric: torchmetrics.Metric) -> None:
    """Clear all states of a metric, also those that its class keeps in its own `reset`."""
    import torchmetrics

    for name, default in metric._defaults.items():
        setattr(metric, name, [] if isinstance(default, list) else default.clone().to(metric.device))
    torchmetrics.Metric.reset(metric)


@contextlib.contextmanager
def as_wrong_value(key: str, what: str) -> Iterator[None]:
    """Raise errors of torchmetrics as a WrongValue of one line; errors of a full memory pass unchanged."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a wrong option, a missing package that the class needs, an image that is too small
        text = " ".join(str(error).split()) or type(error).__name__
        raise WrongValue(f"metric {key} {what}: {text}") from error


@contextlib.contextmanager
def fixed_seed() -> Iterator[None]:
    """Seed torch's random numbers inside the block and restore their state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield
