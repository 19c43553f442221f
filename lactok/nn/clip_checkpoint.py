"""Where the published files of OpenAI's CLIP are, which the scores and GenEval's colour classifier share."""

from __future__ import annotations

from lactok.specs import Asset, Hub

_CLIP_L_14 = "openai/clip-vit-large-patch14"
CLIP_L_14 = Asset(
    "clip-vit-l-14",
    license="MIT (OpenAI CLIP)",
    sources=(Hub(_CLIP_L_14, "model.safetensors"), Hub(_CLIP_L_14, "pytorch_model.bin")),
    convert="lactok.nn.clip:convert_transformers",
    size=1_710_000_000,
)
CLIP_TOKENIZER = Asset(
    "clip-tokenizer",
    license="MIT (OpenAI CLIP)",
    sources=(Hub(_CLIP_L_14, "tokenizer.json"), Hub("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "tokenizer.json")),
    size=2_220_000,
)
