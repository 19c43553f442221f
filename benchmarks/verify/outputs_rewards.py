"""Parts of kind `outputs`: every reward's own scoring with a small network by recipe, and what is done to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.verify import rewards as rewards_kind
from benchmarks.verify.outputs import Config, Outputs, drawn, sampled
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
    """The set's drawn pictures as a suite opens them."""
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in drawn(config)]


def scores(kind: type[Reward], ids: Tensor, images: list[Image.Image], **parts: Any) -> Tensor:
    """A reward's scores with given parts instead of its published weights.

    Args:
        ids: of the captions, as the reward's tokenizer would give them.
        parts: attributes of the reward, `model` among them.
    """
    reward = kind.__new__(kind)
    Reward.__init__(reward)
    vars(reward).update(parts, texts=lambda captions, device: (ids, ids.ne(0).long()))
    return reward.score(images, [""] * len(images))


def clip_rewards(config: Config, folder: Path) -> Outputs:
    """CLIP's towers from open_clip's names, and the rewards that are made of its features."""
    text, vision = (clip.Tower(*config[tower]) for tower in ("text", "vision"))
    shape = clip.Shape(text, vision, act="gelu", **config["shape"])
    model = filled(shape.build, convert_hpsv2(weights_of(folder / "weights.safetensors")), "clip")
    head = filled(lambda: LinearMLP(shape.projection), weights_of(folder / "aesthetic.safetensors"), "aesthetic")
    images, ids = pil_images(config), torch.tensor(config["ids"])
    pixels = torch.stack([preprocess.openai(image) for image in images])
    out = {
        "text features": clip.text_features(model, ids),
        "image features": clip.image_features(model, pixels),
        "image tokens": clip.image_tokens(model, pixels),
    }
    for name, kind in (
        ("hpsv2", HPSv2),
        ("hpsv2-aa", HPSv2Antialiased),
        ("pickscore", PickScore),
        ("clip_score", CLIPScore),
    ):
        out[name] = scores(kind, ids, images, model=model)
    return out | {"aesthetic": scores(Aesthetic, ids, images, model=model, head=head)}


def whole_rewards(config: Config, folder: Path) -> Outputs:
    """ImageReward and MPS from pictures of any size and captions' ids to scores."""
    stored = weights_of(folder / "image_reward.safetensors")
    shape = rewards_kind.image_reward_config(config["image_reward"])
    reader = filled(lambda: ImageRewardNetwork(shape), convert_image_reward(stored), "image_reward")
    stored = weights_of(folder / "mps.safetensors")
    masked = filled(lambda: rewards_kind.mps_network({"config": config["mps"]}), convert_mps(stored), "mps")
    images = pil_images(config)
    ids, with_condition = torch.tensor(config["image_reward_ids"]), torch.tensor(config["mps_ids"])
    return {
        "image_reward": scores(ImageReward, ids, images, model=reader),
        "mps": scores(MPS, with_condition, images, model=masked),
        "mps-0.01": scores(MPSForward, with_condition, images, model=masked),
    }


def preprocessed(config: Config, folder: Path) -> Outputs:
    """The three ways to 224 px, and HPSv2's with antialiasing."""
    ways = {
        "openai": preprocess.openai,
        "transformers": preprocess.transformers_clip,
        "hps": lambda image: preprocess.hps(image, antialias=False),
        "hps-aa": lambda image: preprocess.hps(image, antialias=True),
    }
    images = pil_images(config)
    return {name: sampled(torch.stack([way(image) for image in images]), 7) for name, way in ways.items()}
