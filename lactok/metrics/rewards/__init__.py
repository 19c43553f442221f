"""Rewards: how well people would like a picture, or how well it fits its caption; found by name.

Another one is a class with an `spec`, found by name in the table here or by the entry-point group `lactok.rewards` of
any installed package. Nothing is imported before it is loaded.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from lactok.errors import UserError, unknown
from lactok.specs import Asset

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

# name -> module:class; the order is that of the tables
REWARDS: dict[str, str] = {
    "image_reward": "lactok.metrics.rewards.image_reward:ImageReward",
    "mps": "lactok.metrics.rewards.mps:MPS",
    "hpsv2": "lactok.metrics.rewards.hpsv2:HPSv2",
    "hpsv2.1": "lactok.metrics.rewards.hpsv2:HPSv21",
    "pickscore": "lactok.metrics.rewards.clip_scores:PickScore",
    "clip_score": "lactok.metrics.rewards.clip_scores:CLIPScore",
    "aesthetic": "lactok.metrics.rewards.clip_scores:Aesthetic",
}

# the same models computed otherwise, since their publishers do both; no columns of `all`
VARIANTS: dict[str, str] = {
    "mps-0.01": "lactok.metrics.rewards.mps:MPSForward",
    "hpsv2-aa": "lactok.metrics.rewards.hpsv2:HPSv2Antialiased",
    "hpsv2.1-aa": "lactok.metrics.rewards.hpsv2:HPSv21Antialiased",
}

DEFAULT = ("image_reward", "mps", "hpsv2", "hpsv2.1")  # the paper's; it does not say which HPSv2

GROUP = "lactok.rewards"


@dataclass(frozen=True)
class RewardSpec:
    """What is fixed about a reward; all of it stands in a result.

    Attributes:
        license: of its weights.
        variant: what its publishers leave open and is chosen here.
        assets: its weights and the files of its tokenizer.
        higher_is_better: true of all that are here.
        needs_caption: False for those that look at the picture alone.
        published: its column in `published.json`, or "".
        version: raised by hand when its arithmetic changes; part of every stored key.
    """

    name: str
    license: str
    variant: str = ""
    assets: tuple[Asset, ...] = ()
    higher_is_better: bool = True
    needs_caption: bool = True
    published: str = ""
    version: int = 1


class Reward(ABC):
    """Made by `Reward(device, dtype)` with its weights, ready to use; raises WeightsNotFound without them.

    Args:
        device: where it computes.
        dtype: compute dtype (autocast), float32 if not given; scores are float32 whatever it is.
    """

    spec: RewardSpec

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        import torch

        self.device, self.dtype = device, dtype or torch.float32

    @abstractmethod
    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        """RGB images of any size and their captions -> (B,)."""

    def score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        """How good each picture is with its caption, higher is better unless `spec` says otherwise.

        Args:
            images: B RGB images of any size.
            captions: B texts; ignored by those that look at the picture alone.

        Returns:
            (B,) float32 on the CPU. A picture's score does not depend on its neighbours, but for rounding.

        Raises:
            ValueError: not as many captions as images.
            UserError: a score is not finite in this dtype.
        """
        import torch

        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images and {len(captions)} captions")
        if not images:
            return torch.zeros(0)
        with torch.inference_mode(), self._compute():
            scores = self._score(images, captions).float().cpu()
        if not bool(scores.isfinite().all()):
            raise UserError(f"{self.spec.name}: a score is not finite in {self.dtype}; use bfloat16 or float32")
        return scores

    def _compute(self) -> AbstractContextManager[object]:
        import torch

        from lactok.device import exact_float32

        if self.dtype == torch.float32:
            return exact_float32()
        return torch.autocast(self.device.partition(":")[0], self.dtype)


def names() -> list[str]:
    """All rewards but the variants, this project's first."""
    return [*dict.fromkeys([*REWARDS, *(point.name for point in entry_points(group=GROUP))])]


def find(name: str) -> type[Reward]:
    """The class of a reward by name, not yet loaded.

    Raises:
        UserError: unknown name, or a plug-in that cannot be imported or is no reward.
    """
    own = REWARDS | VARIANTS
    if name in own:
        module, _, attribute = own[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        raise unknown("reward", name, [*names(), *VARIANTS])
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"plug-in {name!r} ({point.value}) cannot be imported: {text}") from error
    if not (isinstance(found, type) and issubclass(found, Reward) and isinstance(found.spec, RewardSpec)):
        raise UserError(f"plug-in {name!r} ({point.value}) is no reward; see lactok.metrics.rewards.Reward")
    return found


def specs(chosen: Sequence[str]) -> tuple[dict[str, RewardSpec], dict[str, str]]:
    """What each reward is, by name, and why some cannot be told: a broken plug-in must not hide the others."""
    known, broken = {}, {}
    for name in chosen:
        try:
            known[name] = find(name).spec
        except UserError as error:
            broken[name] = str(error)
    return known, broken
