"""Parts of kind `outputs`: scores of every reward with a small random network, and the preprocessing of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.verify import rewards as rewards_kind
from benchmarks.verify.outputs import Config, Outputs, drawn, subsampled
from benchmarks.verify.recipe import weights_of
from lactok.metrics.rewards import Reward, preprocess
from lactok.metrics.rewards.clip_scores import Aesthetic, CLIPScore, LinearMLP, PickScore
from lactok.metrics.rewards.hpsv2 import HPSv2, HPSv2Antialiased
from lactok.metrics.rewards.hpsv2 import convert as convert_hpsv2
from lactok.metrics.rewards.image_reward import ImageReward, ImageRewardNetwork
from lactok.metrics.rewards.image_reward import convert as convert_image_reward
from lactok.metrics.rewards.mps import MPS, MPSForward
from lactok.metrics.rewards.mps import convert as convert_mps
from lactok.nn import clip
from lactok.nn.loading import filled


def pil_images(config: Config) -> list[Image.Image]:
    """Return the set's drawn pictures as PIL images, which is what rewards take."""
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in drawn(config)]


def scores(kind: type[Reward], ids: Tensor, images: list[Image.Image], **parts: Any) -> Tensor:
    """Return a reward's scores (B,) of images with a given network instead of the published weights.

    Args:
        kind: class of the reward.
        ids: token ids (B, L) of the captions, as the reward's tokenizer would return them; 0 is padding.
        images: B images.
        parts: attributes of the reward, `model` among them.
    """
    reward = kind.__new__(kind)  # the class's own constructor would load the published weights
    Reward.__init__(reward)
    for name, part in parts.items():
        setattr(reward, name, part)
    reward.texts = lambda captions, device: (ids, ids.ne(0).long())  # type: ignore[attr-defined]
    return reward.score(images, [""] * len(images))


def clip_rewards(config: Config, folder: Path) -> Outputs:
    """Return features of a small CLIP with open_clip's weight names, and the scores of the rewards that use CLIP."""
    text, vision = clip.Tower(*config["text"]), clip.Tower(*config["vision"])
    shape = clip.Shape(text, vision, act="gelu", **config["shape"])
    model = filled(shape.build, convert_hpsv2(weights_of(folder / "weights.safetensors")), "clip")
    head = filled(lambda: LinearMLP(shape.projection), weights_of(folder / "aesthetic.safetensors"), "aesthetic")
    images, ids = pil_images(config), torch.tensor(config["ids"])
    pixels = torch.stack([preprocess.openai(image) for image in images])
    return {
        "text features": clip.text_features(model, ids),
        "image features": clip.image_features(model, pixels),
        "image tokens": clip.image_tokens(model, pixels),
        "hpsv2": scores(HPSv2, ids, images, model=model),
        "hpsv2-aa": scores(HPSv2Antialiased, ids, images, model=model),
        "pickscore": scores(PickScore, ids, images, model=model),
        "clip_score": scores(CLIPScore, ids, images, model=model),
        "aesthetic": scores(Aesthetic, ids, images, model=model, head=head),
    }


def whole_rewards(config: Config, folder: Path) -> Outputs:
    """Return scores of ImageReward and MPS for pictures of any size and token ids of captions."""
    stored = weights_of(folder / "image_reward.safetensors")
    shape = rewards_kind.image_reward_config(config["image_reward"])
    image_reward = filled(lambda: ImageRewardNetwork(shape), convert_image_reward(stored), "image_reward")
    stored = weights_of(folder / "mps.safetensors")
    mps = filled(lambda: rewards_kind.mps_network({"config": config["mps"]}), convert_mps(stored), "mps")
    images = pil_images(config)
    ids = torch.tensor(config["image_reward_ids"])
    mps_ids = torch.tensor(config["mps_ids"])  # the first row is the condition, the others are captions
    return {
        "image_reward": scores(ImageReward, ids, images, model=image_reward),
        "mps": scores(MPS, mps_ids, images, model=mps),
        "mps-0.01": scores(MPSForward, mps_ids, images, model=mps),
    }


def preprocessed(config: Config, folder: Path) -> Outputs:
    """Return pictures preprocessed to 224 px as CLIP, transformers and HPSv2 do, the last also with antialiasing."""
    images = pil_images(config)
    return {
        "openai": subsampled(torch.stack([preprocess.openai(image) for image in images]), 7),
        "transformers": subsampled(torch.stack([preprocess.transformers_clip(image) for image in images]), 7),
        "hps": subsampled(torch.stack([preprocess.hps(image, antialias=False) for image in images]), 7),
        "hps-aa": subsampled(torch.stack([preprocess.hps(image, antialias=True) for image in images]), 7),
    }
