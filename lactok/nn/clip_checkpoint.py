"""The published weights and vocabulary of OpenAI's CLIP, which reward models and GenEval's colour classifier use."""

from __future__ import annotations

from lactok.specs import Asset, Hub

_CLIP_L_14 = "openai/clip-vit-large-patch14"
_REVISION = "32bd64288804d66eefd0ccbe215aa642df71cc41"
_LAION_H_14 = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
CLIP_L_14 = Asset(
    "clip-vit-l-14",
    license="MIT (OpenAI CLIP)",
    sources=tuple(Hub(_CLIP_L_14, file, revision=_REVISION) for file in ("model.safetensors", "pytorch_model.bin")),
    convert="lactok.nn.clip:convert_transformers",
    size=1_710_000_000,
)
CLIP_TOKENIZER = Asset(
    "clip-tokenizer",
    license="MIT (OpenAI CLIP)",
    sources=(
        Hub(_CLIP_L_14, "tokenizer.json", revision=_REVISION),
        Hub(_LAION_H_14, "tokenizer.json", revision="1c2b8495b28150b8a4922ee1c8edee224c284c0c"),
    ),
    size=2_220_000,
)
