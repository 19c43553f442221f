"""lactok: discrete image tokenizers behind one interface, and the reference implementation of LaCTok.

tok = lactok.load("llamagen-vq16-tiny")
ids = tok.encode(images)      # (B, 3, 256, 256) float32 in [0, 1] -> (B, 256) int64
out = tok.decode(ids)         # -> (B, 3, 256, 256) float32 in [0, 1]

gen = lactok.load_generator("sdxl", device="cuda")
images = gen.generate(["a red bus"], seeds=[7])   # -> (B, 3, 1024, 1024) float32 in [0, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, WeightsNotFound
from lactok.specs import Asset, GeneratorInfo, Hub, Option, Packaged, Registry, TokenizerInfo, Url
from lactok.registry import (
    build,
    generator_info,
    generators,
    info,
    load,
    load_generator,
    names,
    register,
    register_generator,
)

if TYPE_CHECKING:
    from lactok.tokenizer import Generator, Tokenizer

__version__ = "0.1.0"
__all__ = [
    "Asset",
    "Generator",
    "GeneratorInfo",
    "Hub",
    "Option",
    "Packaged",
    "Registry",
    "Tokenizer",
    "TokenizerInfo",
    "Url",
    "UserError",
    "WeightsNotFound",
    "build",
    "generator_info",
    "generators",
    "info",
    "load",
    "load_generator",
    "names",
    "register",
    "register_generator",
]


def __getattr__(name: str) -> Any:
    """`Tokenizer` and `Generator` on first use, because they import torch."""
    if name in ("Tokenizer", "Generator"):
        from lactok import tokenizer

        return getattr(tokenizer, name)
    raise AttributeError(f"module 'lactok' has no attribute {name!r}")
