"""HPSv2 and HPSv2.1 (Wu et al. 2023; tgxs002/HPSv2): a CLIP ViT-H/14 trained on people's choices between images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image
from torch import Tensor

from lactok import weights
from lactok.metrics.rewards import Reward, RewardSpec, preprocess, register_reward
from lactok.nn import clip
from lactok.nn.loading import Texts, filled
from lactok.specs import Asset, Hub
from lactok.weights.wrappers import stored

_REVISION = "697403c78157020a1ae59d23f111aa58ced35b0a"
WEIGHTS = {
    version: Asset(
        f"hps-{version}",
        license="Apache-2.0",
        sources=(Hub("xswu/HPSv2", f"HPS_{version}_compressed.pt", revision=_REVISION),),
        convert="lactok.metrics.rewards.hpsv2:convert",
        size=1_970_000_000,
    )
    for version in ("v2", "v2.1")
}
PLAIN = "cosine, not x 100; tensor bicubic without antialias, as torchvision had it before 0.17"
ANTIALIASED = "cosine, not x 100; tensor bicubic with antialias, as torchvision has it since 0.17"


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a published file under this project's names, without the training's other state.

    The model's own tensors are those under `state_dict.`, or all of them if there is no such name.
    """
    return clip.convert_open_clip(stored(dict(tensors), ("state_dict",)))


def spec(name: str, version: str, variant: str) -> RewardSpec:
    """Return the declaration of a reward with the weights of version "v2" or "v2.1"."""
    return RewardSpec(name, "Apache-2.0", variant, (WEIGHTS[version], clip.TOKENIZER), published="hpsv2")


@register_reward(spec("hpsv2", "v2", PLAIN))
class HPSv2(Reward):
    """HPSv2: the cosine similarity of caption and image, about 0.3."""

    antialias = False

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(clip.VIT_H_14.build, weights.load(self.spec.assets[0]), self.spec.name).to(device)
        self.texts = self.tokenizer()

    @classmethod
    def tokenizer(cls) -> Texts:
        return clip.texts()

    @classmethod
    def text_of(cls, caption: str) -> str:
        return clip.unescaped(caption)

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.hps(i, self.antialias) for i in images], self.device)
        ids, _ = self.texts([self.text_of(c) for c in captions], self.device)
        return (clip.image_features(self.model, pixels) * clip.text_features(self.model, ids)).sum(-1)


@register_reward(spec("hpsv2-aa", "v2", ANTIALIASED))
class HPSv2Antialiased(HPSv2):
    """As `HPSv2`, with antialiasing when the image is resized."""

    antialias = True


@register_reward(spec("hpsv2.1", "v2.1", PLAIN))
class HPSv21(HPSv2):
    """As `HPSv2`, with the weights of version 2.1."""


@register_reward(spec("hpsv2.1-aa", "v2.1", ANTIALIASED))
class HPSv21Antialiased(HPSv2Antialiased):
    """As `HPSv2Antialiased`, with the weights of version 2.1."""
