"""Rewards computed from CLIP's features: PickScore, CLIPScore and the LAION aesthetic predictor."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn

from lactok import weights
from lactok.metrics.rewards import Reward, RewardSpec, preprocess, register_reward
from lactok.nn import clip
from lactok.nn.clip_checkpoint import CLIP_L_14
from lactok.nn.loading import Texts, filled
from lactok.specs import Asset, Hub, Url

PICKSCORE_WEIGHTS = Asset(
    "pickscore",
    license="MIT",
    sources=(
        Hub("yuvalkirstain/PickScore_v1", "model.safetensors", revision="a4e4367c6dfa7288a00c550414478f865b875800"),
    ),
    convert="lactok.nn.clip:convert_transformers",
    size=3_940_000_000,
)
CLIP_B32 = Asset(
    "clip-vit-b-32",
    license="MIT",
    sources=(
        Hub("openai/clip-vit-base-patch32", "pytorch_model.bin", revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"),
    ),
    convert="lactok.nn.clip:convert_transformers",
    size=605_000_000,
)
AESTHETIC_HEAD = Asset(
    "aesthetic-l-14",
    license="Apache-2.0",
    sources=(
        Url(
            "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
            "sac%2Blogos%2Bava1-l14-linearMSE.pth",
            "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
            3_714_759,
        ),
    ),
    size=3_714_759,
)


@register_reward(
    RewardSpec("pickscore", "MIT", "logit scale x cosine; PIL bicubic", (PICKSCORE_WEIGHTS, clip.TOKENIZER))
)
class PickScore(Reward):
    """PickScore (Kirstain et al. 2023; yuvalkirstain/PickScore): logit scale times cosine similarity, about 20."""

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(clip.VIT_H_14.build, weights.load(PICKSCORE_WEIGHTS), self.spec.name).to(device)
        self.texts = self.tokenizer()

    @classmethod
    def tokenizer(cls) -> Texts:
        return clip.texts()

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.transformers_clip(i) for i in images], self.device)
        ids, _ = self.texts(captions, self.device)
        cosine = (clip.image_features(self.model, pixels) * clip.text_features(self.model, ids)).sum(-1)
        return self.model.logit_scale.exp() * cosine


@register_reward(
    RewardSpec(
        "clip_score", "MIT", 'ViT-B/32, "A photo depicts " before the caption, cosine', (CLIP_B32, clip.TOKENIZER)
    )
)
class CLIPScore(Reward):
    """CLIPScore (Hessel et al. 2021) as LlamaGen evaluates it: the cosine similarity, not clipped at 0 or times 2.5."""

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(clip.VIT_B_32.build, weights.load(CLIP_B32), self.spec.name).to(device)
        self.texts = self.tokenizer()

    @classmethod
    def tokenizer(cls) -> Texts:
        return clip.texts()

    @classmethod
    def text_of(cls, caption: str) -> str:
        return f"A photo depicts {clip.unescaped(caption)}"

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.openai(i) for i in images], self.device)
        ids, _ = self.texts([self.text_of(c) for c in captions], self.device)
        return (clip.image_features(self.model, pixels) * clip.text_features(self.model, ids)).sum(-1)


class LinearMLP(nn.Module):
    """The head of the aesthetic predictor and of ImageReward: linear layers with dropout but no activation between."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (B,) of features (B, width), in float32 also under autocast: bfloat16 would round them."""
        with torch.autocast(features.device.type, enabled=False):
            return self.layers(features.float())[:, 0]


@register_reward(
    RewardSpec(
        "aesthetic",
        "Apache-2.0",
        "ViT-L/14, sac+logos+ava1, linear MSE",
        (CLIP_L_14, AESTHETIC_HEAD),
        needs_caption=False,
    )
)
class Aesthetic(Reward):
    """LAION's aesthetic predictor (christophschuhmann/improved-aesthetic-predictor), about 1 to 10, without caption."""

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(clip.VIT_L_14.build, weights.load(CLIP_L_14), self.spec.name).to(device)
        head = weights.load(AESTHETIC_HEAD)
        self.head = filled(lambda: LinearMLP(clip.VIT_L_14.projection), head, self.spec.name).to(device)

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.openai(i) for i in images], self.device)
        return self.head(clip.image_features(self.model, pixels))
