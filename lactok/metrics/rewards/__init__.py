"""Rewards: how well people would like a picture, or how well it fits its caption; found by name.

A reward is a class under `@register_reward(RewardSpec(...))` in a file of this package, or of another package that
names it by an entry point of group `lactok.rewards`. Nothing is imported before it is loaded.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import UserError
from lactok.plugins import Plugins
from lactok.specs import Asset

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

ORDER = ("image_reward", "mps", "hpsv2", "clip_scores")  # of modules, and so of the tables' columns
DEFAULT = ("image_reward", "mps", "hpsv2", "hpsv2.1")  # the paper's; it does not say which HPSv2

GROUP = "lactok.rewards"
R = TypeVar("R", bound="type[Reward]")


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


class Rewards(Plugins[type[Reward]]):
    """All rewards; an entry point may be a class with a `spec` that no decorator registers."""

    def __init__(self) -> None:
        super().__init__("reward", "register_reward", GROUP, lambda: (__name__,))

    def offered(self) -> list[str]:
        return [*self.names(), *self.unlisted()]

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        is_reward = isinstance(loaded, type) and issubclass(loaded, Reward)
        if not (is_reward and isinstance(getattr(loaded, "spec", None), RewardSpec)):
            raise UserError(f"plug-in {name!r} ({point.value}) is no reward; see lactok.metrics.rewards.Reward")
        self.add(name, loaded)


REWARDS = Rewards()


def register_reward(spec: RewardSpec, *, listed: bool = True) -> Callable[[R], R]:
    """Class decorator: the class is the reward `spec.name`, and `spec` its `spec`.

    Args:
        spec: its name stands here as the first text, since it is read from here before the module is imported.
        listed: False for the same model computed otherwise, since its publishers do both: found by name, no column of
            `all`.

    Raises:
        WrongValue: another class has the name already.
    """

    def add(reward: R) -> R:
        REWARDS.add(spec.name, reward)
        reward.spec = spec
        return reward

    return add


def names() -> list[str]:
    """All rewards but the variants, this project's first."""
    return REWARDS.names()


def find(name: str) -> type[Reward]:
    """The class of a reward by name, not yet loaded.

    Raises:
        UserError: unknown name, or a plug-in that cannot be imported or is no reward.
    """
    return REWARDS.get(name)


def specs(chosen: Sequence[str]) -> tuple[dict[str, RewardSpec], dict[str, str]]:
    """What each reward is, by name, and why some cannot be told: a broken plug-in must not hide the others."""
    known, broken = {}, {}
    for name in chosen:
        try:
            known[name] = find(name).spec
        except UserError as error:
            broken[name] = str(error)
    return known, broken


def assets() -> dict[str, tuple[Asset, ...]]:
    """For the list of weights: what each reward needs, variants included; a broken plug-in is left out, and named."""
    known, broken = specs(REWARDS.offered())
    for why in broken.values():
        logging.getLogger(__name__).warning("left out: %s", why)
    return {name: spec.assets for name, spec in known.items()}


VARIANTS = tuple(REWARDS.unlisted())  # the same models computed otherwise
