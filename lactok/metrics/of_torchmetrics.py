"""Metrics of torchmetrics as they are: of pairs, image by image, and of sets, by their own state.

A class whose `update` takes `real` compares two sets: its state is kept for each shard and merged as torchmetrics
merges the states of several processes. Every other class is called with one pair at a time, and the metric is the mean
over images. Images are given as float32 in [0, 1]; `data_range=1.0` and `normalize=True` are set where the class has
them and nothing else is said.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lactok.errors import WrongValue, unknown
from lactok.metrics.registry import TORCHMETRICS, ImageMetric, Metric, StateMetric

if TYPE_CHECKING:
    import torchmetrics
    from torch import Tensor

SUITED: dict[str, Any] = {"data_range": 1.0, "normalize": True}  # to float32 images in [0, 1]


def by_name(key: str) -> Metric:
    """The metric of `torchmetrics:CLASS[@option=value,...]`.

    Raises:
        UnknownName, WrongValue: no such class, or one that does not compare images; an option that it refuses.
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


def adapted(key: str, kind: type[torchmetrics.Metric], options: Mapping[str, Any]) -> Metric:
    """A class of torchmetrics as a metric of this project.

    Raises:
        WrongValue: it cannot be made with these options, or is not of pairs or sets of images.
    """
    accepted = inspect.signature(kind.__init__).parameters
    given = {k: v for k, v in SUITED.items() if k in accepted} | dict(options)
    try:
        made = _made(kind, given)
    except Exception as error:  # a wrong option, or a package that the class needs
        raise WrongValue(f"metric {key} cannot be made: {' '.join(str(error).split())}") from error
    takes = list(inspect.signature(made.update).parameters)
    if made.higher_is_better is None:
        raise WrongValue(f"metric {key}: torchmetrics does not say whether higher is better, so it cannot be ranked")
    common: dict[str, Any] = {
        "key": key, "title": key.removeprefix(TORCHMETRICS), "higher": bool(made.higher_is_better), "own": False,
        "libraries": ("torchmetrics",),
    }  # fmt: skip
    if "real" in takes:
        make = partial(_made, kind, given)
        return StateMetric(**common, state=partial(_state, make), merge=partial(_merge, make))
    if takes[:2] not in (["preds", "target"], ["img1", "img2"]):
        raise WrongValue(f"metric {key} takes {', '.join(takes)}; it must be of two images or of two sets")
    return ImageMetric(**common, compute=partial(_pairs, made))


def _made(kind: type[torchmetrics.Metric], given: Mapping[str, Any]) -> torchmetrics.Metric:
    metric = kind(**given)
    metric.distributed_available_fn = _alone
    return metric


def _alone() -> bool:
    """What torchmetrics asks: no other process has a part of these images, also where several train together."""
    return False


def _pairs(metric: torchmetrics.Metric, references: Tensor, outputs: Tensor, device: str) -> Tensor:
    """(B,) float64, each pair by itself."""
    metric = metric.to(device)
    values = []
    for reference, output in zip(references, outputs, strict=True):
        metric.reset()
        pair = [image[None].to(device).float() / 255 for image in (output, reference)]
        metric.update(*pair)
        values.append(metric.compute().double().reshape(()).cpu())
    return torch.stack(values)


def _state(make: Any, references: Tensor, outputs: Tensor, device: str) -> dict[str, np.ndarray]:
    """The metric's state after a shard; lists of tensors are stored as one, end to end."""
    metric = make().to(device)
    for images, real in ((references, True), (outputs, False)):
        for start in range(0, len(images), 8):
            metric.update(images[start : start + 8].to(device).float() / 255, real=real)
    out = {}
    for name, value in metric.metric_state.items():
        whole = torch.cat([v.reshape(-1, *v.shape[1:]) for v in value]) if isinstance(value, list) else value
        out[name] = whole.cpu().numpy()
    return out


def _merge(make: Any, states: Sequence[Mapping[str, np.ndarray]]) -> float:
    total = make()
    for i, state in enumerate(states):
        metric = make()
        for name, default in metric._defaults.items():
            value = torch.from_numpy(np.asarray(state[name]).copy())
            setattr(metric, name, [value] if isinstance(default, list) else value)
        metric._update_count = 1
        if i == 0:
            total = metric
        else:
            total.merge_state(metric)
    value = total.compute()
    return float(value[0] if isinstance(value, tuple) else value)
