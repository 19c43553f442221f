"""CLIP for the scores of images and captions: shapes of the published models, features, and conversion of their files.

The network is transformers' `CLIPModel` for all of them, also for weights that were published for open_clip.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from lactok.nn.clip_checkpoint import CLIP_TOKENIZER as TOKENIZER
from lactok.nn.loading import Texts, without_positions


@dataclass(frozen=True)
class Tower:
    """Dimensions of one of CLIP's two transformers.

    Attributes:
        width: of the tokens.
        intermediate: width inside the MLPs.
        layers, heads: numbers of layers and of attention heads in each.
    """

    width: int
    intermediate: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Shape:
    """Dimensions of a CLIP model.

    Attributes:
        text, vision: its two transformers.
        projection: width of the space in which images and captions are compared.
        patch: side of an image patch in pixels.
        act: activation, "quick_gelu" in OpenAI's own weights, "gelu" in LAION's.
        image: side of the image in pixels.
        vocabulary: number of text tokens; the last two mark the beginning and the end of a text.
        positions: largest number of tokens of a text.
    """

    text: Tower
    vision: Tower
    projection: int
    patch: int
    act: str
    image: int = 224
    vocabulary: int = 49408
    positions: int = 77

    def build(self) -> CLIPModel:
        """Make the network, with random weights."""
        text = self._tower_config(self.text) | {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "bos_token_id": self.vocabulary - 2,
            "eos_token_id": self.vocabulary - 1,
            "pad_token_id": 1,
        }
        vision = self._tower_config(self.vision) | {"image_size": self.image, "patch_size": self.patch}
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=self.projection))

    def _tower_config(self, tower: Tower) -> dict[str, int | str]:
        """Return what transformers' configurations of text and vision have in common."""
        return {
            "hidden_size": tower.width,
            "intermediate_size": tower.intermediate,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "projection_dim": self.projection,
            "hidden_act": self.act,
        }


VIT_B_32 = Shape(Tower(512, 2048, 12, 8), Tower(768, 3072, 12, 12), 512, 32, "quick_gelu")
VIT_L_14 = Shape(Tower(768, 3072, 12, 12), Tower(1024, 4096, 24, 16), 768, 14, "quick_gelu")
VIT_H_14 = Shape(Tower(1024, 4096, 24, 16), Tower(1280, 5120, 32, 16), 1024, 14, "gelu")


def texts() -> Texts:
    """Return CLIP's tokenizer, which makes 77 ids of a caption.

    Captions are padded by the end token: a text's features are taken at its first end token, which does not see what
    follows.
    """
    return Texts(TOKENIZER, 77, "<|endoftext|>")


def unescaped(caption: str) -> str:
    """Return the caption after the first steps of OpenAI's tokenizer, which transformers' tokenizer lacks.

    HTML entities are replaced twice and spaces cut off at both ends. ftfy is left out: it changes damaged text only.
    """
    return html.unescape(html.unescape(caption)).strip()


def text_tokens(model: CLIPModel, ids: Tensor) -> Tensor:
    """Ids (B, L) -> the text transformer's output tokens, projected to the common space (B, L, projection)."""
    return model.text_projection(model.text_model(input_ids=ids).last_hidden_state)


def at_end(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens (B, L, C) and ids (B, L) -> each text's token at its first end token, (B, C).

    The end token has the highest id of the vocabulary.
    """
    return tokens[torch.arange(len(ids)), ids.argmax(-1)]


def text_features(model: CLIPModel, ids: Tensor) -> Tensor:
    """Ids (B, L) -> CLIP's text features, unit vectors (B, projection) float32."""
    return unit(at_end(text_tokens(model, ids), ids))


def image_features(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Normalised images (B, 3, 224, 224) -> CLIP's image features, unit vectors (B, projection) float32."""
    return unit(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output))


def image_tokens(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Normalised images (B, 3, 224, 224) -> projected tokens (B, 1 + patches, projection), the class token first.

    CLIP's last norm is not applied: it belongs to the class token alone.
    """
    return model.visual_projection(model.vision_model(pixel_values=pixels).last_hidden_state)


def unit(features: Tensor) -> Tensor:
    """Features (..., C) -> the same divided by their length, float32."""
    features = features.float()
    return features / features.norm(dim=-1, keepdim=True)


def convert_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a CLIP checkpoint of any version of transformers as today's version names them."""
    return without_positions(tensors)


# open_clip's names -> transformers' names: inside a block, elsewhere, and of matrices that are stored transposed
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_ELSEWHERE = {
    "logit_scale": "logit_scale",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # transformers' own spelling
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}


def convert_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors of an open_clip checkpoint of a ViT under transformers' names.

    Raises:
        KeyError: a name that open_clip's ViTs do not have.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if block is not None:
            out |= _convert_block(tensor, *block.groups())
        elif name in _TRANSPOSED:
            out[_TRANSPOSED[name]] = tensor.T
        else:
            out[_ELSEWHERE[name]] = tensor
    return out


def _convert_block(tensor: Tensor, visual: str | None, layer: str, part: str, kind: str) -> dict[str, Tensor]:
    """Return one tensor of a transformer block under its name, or three where queries, keys and values are stacked."""
    tower = "vision_model" if visual else "text_model"
    stem = f"{tower}.encoder.layers.{layer}"
    if part != "attn.in_proj":
        return {f"{stem}.{_BLOCK[part]}.{kind}": tensor}
    query, key, value = tensor.chunk(3)
    return {
        f"{stem}.self_attn.q_proj.{kind}": query,
        f"{stem}.self_attn.k_proj.{kind}": key,
        f"{stem}.self_attn.v_proj.{kind}": value,
    }
