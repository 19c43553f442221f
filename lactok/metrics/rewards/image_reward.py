"""ImageReward (Xu et al. 2023; THUDM/ImageReward): BLIP's text encoder, which attends to the image, and a head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from lactok import weights
from lactok.metrics.rewards import Reward, RewardSpec, preprocess, register_reward
from lactok.metrics.rewards.clip_scores import LinearMLP
from lactok.nn.loading import Texts, filled, without_positions
from lactok.specs import Asset, Hub

WEIGHTS = Asset(
    "image-reward",
    license="Apache-2.0",
    sources=(Hub("THUDM/ImageReward", "ImageReward.pt", revision="5736be03b2652728fb87788c9797b0570450ab72"),),
    convert="lactok.metrics.rewards.image_reward:convert",
    size=1_790_000_000,
)
TOKENIZER = Asset(
    "bert-base-uncased-tokenizer",
    license="Apache-2.0",
    sources=(
        Hub(
            "google-bert/bert-base-uncased",
            "tokenizer.json",
            revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        ),
    ),
    size=466_000,
)
LENGTH = 35  # tokens of a caption at most
# the mean and standard deviation of the network's outputs on the authors' training data
MEAN, STD = 0.16717362830052426, 1.0333394966054072


@dataclass(frozen=True)
class ImageRewardConfig:
    """The shape of the network; the defaults are the published model, BLIP with a ViT-L/16 and BERT's base size.

    Attributes:
        image: side of the input image in pixels.
        patch: side of a patch in pixels.
        vision: width, layers and heads of the image encoder.
        text: width, feed-forward width, layers and heads of the text encoder.
        vocabulary: size of the vocabulary: BERT's 30522 tokens and two of BLIP's own, which are not used here.
        positions: number of the text encoder's positional embeddings.
    """

    image: int = 224
    patch: int = 16
    vision: tuple[int, int, int] = (1024, 24, 16)
    text: tuple[int, int, int, int] = (768, 3072, 12, 12)
    vocabulary: int = 30524
    positions: int = 512


class ImageRewardNetwork(nn.Module):
    """BLIP's image encoder, its text encoder with cross-attention to the image tokens, and the linear head."""

    def __init__(self, config: ImageRewardConfig = ImageRewardConfig()):
        super().__init__()
        width, layers, heads = config.vision
        self.visual_encoder = BlipVisionModel(
            BlipVisionConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                image_size=config.image,
                patch_size=config.patch,
                layer_norm_eps=1e-6,  # not transformers' 1e-5, which costs 2e-4 in the score
            )
        )
        hidden, intermediate, layers, heads = config.text
        self.text_encoder = BlipTextModel(
            BlipTextConfig(
                vocab_size=config.vocabulary,
                hidden_size=hidden,
                encoder_hidden_size=width,
                intermediate_size=intermediate,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                max_position_embeddings=config.positions,
                bos_token_id=None,
                eos_token_id=None,
                sep_token_id=None,
                pad_token_id=0,
            ),
            add_pooling_layer=False,
        )
        self.mlp = LinearMLP(hidden)

    def image_embeds(self, pixels: Tensor) -> Tensor:
        """Return the image tokens (B, 1 + patches, vision width) of normalised images (B, 3, S, S)."""
        return self.visual_encoder(pixel_values=pixels).last_hidden_state

    def caption_feature(self, ids: Tensor, mask: Tensor, image_embeds: Tensor) -> Tensor:
        """Return the text encoder's output at the first token, (B, text width).

        The first token stays BERT's [CLS]; unlike BLIP, ImageReward does not replace it by [ENC].

        Args:
            ids: token ids of the captions, (B, L).
            mask: 1 for tokens and 0 for padding, (B, L).
            image_embeds: image tokens (B, 1 + patches, vision width).
        """
        seen = torch.ones(image_embeds.shape[:2], dtype=torch.int64, device=ids.device)
        return self.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image_embeds, encoder_attention_mask=seen
        ).last_hidden_state[:, 0]

    def reward(self, feature: Tensor) -> Tensor:
        """Return the scores (B,) of features (B, text width): mean 0 and standard deviation 1 on the authors' data."""
        return (self.mlp(feature) - MEAN) / STD


# (pattern of BLIP's names in the image encoder, the same part in transformers)
_VISION = (
    (r"cls_token", "embeddings.class_embedding"),
    (r"pos_embed", "embeddings.position_embedding"),
    (r"patch_embed\.proj", "embeddings.patch_embedding"),
    (r"blocks\.(\d+)\.attn\.qkv", r"encoder.layers.\1.self_attn.qkv"),
    (r"blocks\.(\d+)\.attn\.proj", r"encoder.layers.\1.self_attn.projection"),
    (r"blocks\.(\d+)\.norm(\d)", r"encoder.layers.\1.layer_norm\2"),
    (r"blocks\.(\d+)\.mlp", r"encoder.layers.\1.mlp"),
    (r"norm", "post_layernorm"),
)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the published file from BLIP's names to those of transformers.

    The text encoder and the head have the same names in both.
    """
    out = {}
    for name, tensor in without_positions(tensors).items():
        name = name.removeprefix("blip.")
        for pattern, new in _VISION:
            name, changed = re.subn(rf"^visual_encoder\.{pattern}(?=\.|$)", rf"visual_encoder.{new}", name)
            if changed:
                break
        out[name] = tensor
    return out


@register_reward(
    RewardSpec(
        "image_reward",
        "Apache-2.0",
        "ImageReward-v1.0, 35 BERT tokens at most",
        (WEIGHTS, TOKENIZER),
        published="image_reward",
    )
)
class ImageReward(Reward):
    """ImageReward-v1.0: scores of about -2 to 2."""

    def __init__(self, device: str = "cpu", dtype: torch.dtype | None = None):
        super().__init__(device, dtype)
        self.model = filled(ImageRewardNetwork, weights.load(WEIGHTS), self.spec.name).to(device)
        self.texts = self.tokenizer()

    @classmethod
    def tokenizer(cls) -> Texts:
        return Texts(TOKENIZER, LENGTH, "[PAD]")

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        pixels = preprocess.batch([preprocess.openai(i) for i in images], self.device)
        ids, mask = self.texts(captions, self.device)
        return self.model.reward(self.model.caption_feature(ids, mask, self.model.image_embeds(pixels)))
