"""CLIP as the scorers need it: shapes of the published models, names of their files, features from their towers.

The network is transformers' CLIPModel for all of them, also where the weights were published for open_clip.
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
    width: int
    intermediate: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Shape:
    """A CLIP model's dimensions.

    Attributes:
        act: "quick_gelu" for OpenAI's own weights, "gelu" for LAION's.
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
        text, vision = (
            {
                "hidden_size": t.width,
                "intermediate_size": t.intermediate,
                "num_hidden_layers": t.layers,
                "num_attention_heads": t.heads,
                "projection_dim": self.projection,
                "hidden_act": self.act,
            }
            for t in (self.text, self.vision)
        )
        text |= {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "bos_token_id": self.vocabulary - 2,
            "eos_token_id": self.vocabulary - 1,
            "pad_token_id": 1,
        }
        vision |= {"image_size": self.image, "patch_size": self.patch}
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=self.projection))


VIT_B_32 = Shape(Tower(512, 2048, 12, 8), Tower(768, 3072, 12, 12), 512, 32, "quick_gelu")
VIT_L_14 = Shape(Tower(768, 3072, 12, 12), Tower(1024, 4096, 24, 16), 768, 14, "quick_gelu")
VIT_H_14 = Shape(Tower(1024, 4096, 24, 16), Tower(1280, 5120, 32, 16), 1024, 14, "gelu")


def texts() -> Texts:
    """Captions to 77 ids, padded by the end token; what follows the first end token changes no text's features."""
    return Texts(TOKENIZER, 77, "<|endoftext|>")


def unescaped(caption: str) -> str:
    """What OpenAI's tokenizer does before transformers' begins, but for ftfy, which mends damaged text only."""
    return html.unescape(html.unescape(caption)).strip()


def text_tokens(model: CLIPModel, ids: Tensor) -> Tensor:
    """ids (B, L) -> projected tokens (B, L, P)."""
    return model.text_projection(model.text_model(input_ids=ids).last_hidden_state)


def at_end(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens (B, L, P) -> those at each text's first end token, whose id is the highest, (B, P)."""
    return tokens[torch.arange(len(ids)), ids.argmax(-1)]


def text_features(model: CLIPModel, ids: Tensor) -> Tensor:
    """ids (B, L) -> unit vectors (B, P) float32."""
    return unit(at_end(text_tokens(model, ids), ids))


def image_features(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Normalised images (B, 3, 224, 224) -> unit vectors (B, P) float32."""
    return unit(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output))


def image_tokens(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Normalised images -> projected tokens (B, 1 + patches, P), the class token first, without the last norm."""
    return model.visual_projection(model.vision_model(pixel_values=pixels).last_hidden_state)


def unit(features: Tensor) -> Tensor:
    features = features.float()
    return features / features.norm(dim=-1, keepdim=True)


def convert_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published transformers checkpoint of CLIP."""
    return without_positions(tensors)


_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_PLAIN = {
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
    """An open_clip checkpoint of a ViT under transformers' names; every tensor goes somewhere.

    Raises:
        KeyError: a name that open_clip's ViTs do not have.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if block is None:
            out.update({_TRANSPOSED[name]: tensor.T} if name in _TRANSPOSED else {_PLAIN[name]: tensor})
            continue
        tower, layer, part, kind = block.groups()
        stem = f"{'vision' if tower else 'text'}_model.encoder.layers.{layer}"
        if part == "attn.in_proj":  # query, key and value in one
            for which, third in zip("qkv", tensor.chunk(3), strict=True):
                out[f"{stem}.self_attn.{which}_proj.{kind}"] = third
        else:
            out[f"{stem}.{_BLOCK[part]}.{kind}"] = tensor
    return out
