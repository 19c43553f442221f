"""Rewards: models that score how well people would like an image, or how well it fits its caption.

A reward is a class decorated by `@register_reward(RewardSpec(...))`, in a file of this package or of another package
that has an entry point of the group `lactok.rewards`. A module is imported only when one of its rewards is used.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.catalogue import declared
from lactok.device import instead_of
from lactok.errors import UserError
from lactok.plugins import Plugins
from lactok.specs import Asset

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from lactok.nn.loading import Texts

ORDER = ("image_reward", "mps", "hpsv2", "clip_scores")  # the order of this package's modules, and so of columns
# the paper's; it does not say which version of HPSv2 it used, nor whether images were antialiased when resized
DEFAULT = ("image_reward", "mps", "hpsv2", "hpsv2-aa", "hpsv2.1", "hpsv2.1-aa")

GROUP = "lactok.rewards"
R = TypeVar("R", bound="type[Reward]")


@dataclass(frozen=True)
class RewardSpec:
    """The declaration of a reward; a result holds all of it.

    Attributes:
        name: the name in `--metrics` and in results.
        license: the licence of the weights.
        variant: how the score is computed where the publishers leave it open.
        assets: the weight files and the files of the text tokenizer.
        higher_is_better: whether higher is better; true of all rewards of this package.
        needs_caption: False for a reward that scores the image alone.
        published: the reward's column in `published.json`; empty if there is none.
        version: number that is raised by hand whenever the arithmetic changes; stored scores depend on it.
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
    """The base class of rewards; the constructor loads the weights.

    Args:
        device: the device on which the model runs.
        dtype: the dtype of autocast, float32 if not given; scores are float32 in any case.

    Raises:
        WeightsNotFound: the weights are not installed and cannot be fetched.
    """

    spec: RewardSpec

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        import torch

        self.device, self.dtype = device, dtype or torch.float32

    @classmethod
    def tokenizer(cls) -> Texts | None:
        """Return what turns captions into tokens, without loading the model; None for a reward that reads no captions.

        A caption that is longer than its `length` is cut, which a result says by `cut_captions`.

        Raises:
            WeightsNotFound: the tokenizer's file is not installed and cannot be fetched.
        """
        return None

    @classmethod
    def text_of(cls, caption: str) -> str:
        """Return the text that is turned into tokens for a caption."""
        return caption

    @classmethod
    def cut_captions(cls, captions: Sequence[str]) -> dict[str, int]:
        """Count the captions that are longer than the model reads; the scores are those of the captions' beginnings.

        Args:
            captions: captions; the same one counts once.

        Returns:
            `tokens`, how many tokens of a caption the model reads, special ones included, and `captions_cut`, how many
            captions have more; nothing for a reward that reads no captions.
        """
        texts = cls.tokenizer()
        if texts is None:
            return {}
        different = [cls.text_of(caption) for caption in dict.fromkeys(captions)]
        return {"tokens": texts.length, "captions_cut": sum(texts.is_cut(different)) if different else 0}

    @abstractmethod
    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        """Return the scores (B,) of RGB images of any size with their captions."""

    def score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        """Return the score of each image with its caption; higher is better unless `spec` says otherwise.

        Args:
            images: B RGB images of any size.
            captions: B texts; a reward that does not need captions ignores them.

        Returns:
            Scores (B,) float32 on the CPU. Except for rounding, the score of an image does not depend on the rest of
            the batch.

        Raises:
            ValueError: there are not as many captions as images, or an image is no RGB image of PIL.
            UserError: a score is not finite in this dtype.
        """
        import torch

        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images and {len(captions)} captions")
        for image in images:
            if getattr(image, "mode", None) != "RGB":
                mode = getattr(image, "mode", "")
                raise ValueError(f"{self.spec.name} takes PIL images in RGB, not {mode} {type(image).__name__}")
        if not images:
            return torch.zeros(0)
        with torch.inference_mode(), self._compute():
            scores = self._score(images, captions).float().cpu()
        if not bool(scores.isfinite().all()):
            raise UserError(f"{self.spec.name}: a score is not finite{instead_of(self.dtype)}")
        return scores

    def _compute(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs: exact float32, or autocast to another dtype."""
        import torch

        from lactok.device import exact_float32

        if self.dtype == torch.float32:
            return exact_float32()
        device_type = self.device.partition(":")[0]  # autocast takes "cuda", not "cuda:0"
        return torch.autocast(device_type, self.dtype)


class Rewards(Plugins[type[Reward]]):
    """The registry of all rewards; an entry point may also name a class that has a `spec` but no decorator."""

    def __init__(self) -> None:
        super().__init__("reward", "register_reward", GROUP, lambda: (__name__,))

    def offered(self) -> list[str]:
        """Return the names that the error for an unknown reward lists: all rewards, variants included."""
        return [*self.names(), *self.unlisted()]

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Register the class that an entry point names; raise UserError for anything that is not a reward."""
        is_reward = isinstance(loaded, type) and issubclass(loaded, Reward)
        if not (is_reward and isinstance(getattr(loaded, "spec", None), RewardSpec)):
            raise UserError(f"plug-in {name!r} ({point.value}) is no reward; see lactok.metrics.rewards.Reward")
        self.add(name, loaded)


REWARDS = Rewards()


def register_reward(spec: RewardSpec, *, listed: bool = True) -> Callable[[R], R]:
    """Return a class decorator that registers a reward and sets its attribute `spec`.

    Args:
        spec: the declaration. Write its name as a string literal, before any other: it is read from the source text
            before the module is imported.
        listed: False for a variant, the same model computed in another way of its publishers: it is found by its name,
            but `all` leaves it out.

    Raises:
        WrongValue: another class has the name already.
    """

    def add(reward: R) -> R:
        REWARDS.add(spec.name, reward)
        reward.spec = spec
        return reward

    return add


def names() -> list[str]:
    """Return the names of all rewards except the variants, those of this package first."""
    return REWARDS.names()


def find(name: str) -> type[Reward]:
    """Return the class of a reward by its name; the weights are loaded only by its constructor.

    Raises:
        UserError: the name is unknown, or belongs to a plug-in that cannot be imported or is not a reward.
    """
    return REWARDS.get(name)


def specs(chosen: Sequence[str]) -> tuple[dict[str, RewardSpec], dict[str, str]]:
    """Return the declarations of rewards by name, and the error messages of those that cannot be found, by name.

    Errors are returned, not raised, so that one broken plug-in does not hide the other rewards.
    """
    known, broken = {}, {}
    for name in chosen:
        try:
            known[name] = find(name).spec
        except UserError as error:
            broken[name] = str(error)
    return known, broken


def assets() -> dict[str, tuple[Asset, ...]]:
    """Return the files that each reward needs, variants included, for `python -m lactok.weights list`.

    A broken plug-in is left out with a warning in the log.
    """
    known = declared(__name__, REWARDS.decorator, RewardSpec)
    others, broken = specs([name for name in REWARDS.offered() if name not in known])
    for why in broken.values():
        logging.getLogger(__name__).warning("left out: %s", why)
    known |= others
    return {name: known[name].assets for name in REWARDS.offered() if name in known}


VARIANTS = tuple(REWARDS.unlisted())  # names of the rewards that are variants of others
