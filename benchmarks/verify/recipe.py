"""Weights and pictures from a seed: what a reference set holds instead of a large file.

The numbers come from the raw bits of numpy's Philox, which are the same in every version of numpy and torch, and a
tensor's own seed from its name, so that adding or removing one tensor changes no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from lactok.randomness import seed_of

SUFFIX = ".recipe.json"


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights of a set, read from a file or made by a recipe.

    Args:
        path: `NAME.safetensors`, or a recipe. Where the file is not there but `NAME.recipe.json` is, that is followed.

    Raises:
        OSError: neither is there.
    """
    if not path.name.endswith(SUFFIX):
        recipe = path.with_name(path.stem + SUFFIX)
        if path.is_file() or not recipe.is_file():
            return load_file(path)
        path = recipe
    return made(json.loads(path.read_text(encoding="utf-8")))


def made(recipe: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a recipe.

    Args:
        recipe: `seed`; `tensors`, the shape of each by its official name; `integers`, the names of those that count
            positions or batches; `half`, True for tensors that are stored as float16; `gain`, by which matrices are
            multiplied beside 1 / sqrt(fan in), 1 where it is not given.
    """
    seed, gain, integers = recipe["seed"], recipe.get("gain", 1.0), recipe.get("integers", ())
    dtype = torch.float16 if recipe.get("half") else torch.float32
    return {
        name: counted(shape) if name in integers else weight(seed, name, shape, gain).to(dtype)
        for name, shape in recipe["tensors"].items()
    }


def weight(seed: int, name: str, shape: list[int], gain: float = 1.0) -> Tensor:
    """One float32 tensor of a network, scaled so that activations neither vanish nor grow.

    Matrices and convolutions have variance gain^2 / fan in. Norms' weights and running variances, which are the
    vectors of those names, lie around 1, other vectors around 0.
    """
    values = uniform(seed, name, shape)
    if len(shape) > 1:
        return values * (gain / math.sqrt(math.prod(shape[1:])))
    around_one = name.endswith((".weight", "running_var"))
    return values * 0.1 + (1.0 if around_one else 0.0)


def counted(shape: list[int]) -> Tensor:
    """Positions 0, 1, 2, ... along the last axis, int64; a number of batches is 0."""
    return torch.arange(math.prod(shape)).reshape(shape)


def uniform(seed: int, name: str, shape: list[int] | tuple[int, ...]) -> Tensor:
    """Float32 numbers of mean 0 and variance 1, uniform between -sqrt(3) and sqrt(3).

    >>> uniform(0, "noise", (2, 3)).shape
    torch.Size([2, 3])
    """
    bits = np.random.Philox(key=seed_of(seed, name)).random_raw(math.prod(shape)) >> np.uint64(40)
    values = (bits.astype(np.float64) / 2**23 - 1) * math.sqrt(3)
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(shape))


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """A drawn picture, (height, width, 3) uint8, in whole numbers throughout: slopes of colour, boxes and a fine grid.

    >>> picture(0, 48, 64).shape
    (48, 64, 3)
    """
    draw = np.random.Philox(key=seed_of(seed, "picture")).random_raw
    y, x = np.mgrid[:height, :width]
    a, b, c, d, start, end = (
        (draw(3) % np.uint64(256)).astype(np.int64),
        *((draw(3) % np.uint64(256)).astype(np.int64) for _ in range(5)),
    )
    across = (a * (width - 1 - x[..., None]) + b * x[..., None]) // max(1, width - 1)
    down = (c * (height - 1 - y[..., None]) + d * y[..., None]) // max(1, height - 1)
    pixels = (across + down) // 2
    for colour in (start, end):
        left, top = (int(v) for v in draw(2) % np.array([width * 2 // 3, height * 2 // 3], np.uint64))
        right, bottom = left + width // 4, top + height // 4
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        pixels[inside] = colour
    pixels += ((x // 4 + y // 4) % 2 * 16 - 8)[..., None]
    return pixels.clip(0, 255).astype(np.uint8)


def pictures(seeds: Sequence[int], height: int, width: int) -> Tensor:
    """Drawn pictures, one a seed, (B, 3, height, width) uint8."""
    stack = np.stack([picture(seed, height, width) for seed in seeds])
    return torch.from_numpy(stack).permute(0, 3, 1, 2)
