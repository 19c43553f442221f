"""Weights and pictures that are computed from a seed, so that a reference set does not have to hold large files.

The numbers come from the raw bits of numpy's Philox generator, which are the same in every version of numpy and torch.
Each tensor has its own seed, which depends on its name, so that adding or removing a tensor changes no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from lactok import outside_text
from lactok.errors import WrongValue
from lactok.outside_text import shown
from lactok.randomness import seed_of

SUFFIX = ".recipe.json"
LARGEST = 10**9  # numbers in a tensor


def weights_of(path: Path) -> dict[str, Tensor]:
    """Return the weights of a set by name, read from a file or computed by a recipe.

    Args:
        path: `NAME.safetensors`, or a recipe `NAME.recipe.json`. If the former does not exist but the latter does, the
            recipe is used.

    Raises:
        OSError: neither exists.
    """
    recipe = path if path.name.endswith(SUFFIX) else path.with_name(path.stem + SUFFIX)
    if path != recipe and (path.is_file() or not recipe.is_file()):
        return load_file(path)
    return tensors_of(outside_text.json_file(recipe))


def tensors_of(recipe: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a recipe by name.

    Args:
        recipe: `seed`; `tensors`, the shape of each tensor by its official name; `integers`, the names of tensors that
            hold positions or a number of batches; `half`, whether the others are float16 instead of float32; `gain`, a
            factor of all matrices and convolutions, 1 if it is not given.
    """
    seed = recipe["seed"]
    gain = recipe.get("gain", 1.0)
    integers = recipe.get("integers", ())
    dtype = torch.float16 if recipe.get("half") else torch.float32
    tensors = {}
    for name, shape in recipe["tensors"].items():
        if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) > LARGEST:
            raise WrongValue(f"the shape of {shown(name)} is {shown(shape)}: at most {LARGEST:,} numbers in all")
        if name in integers:
            tensors[name] = position_ids(shape)
        else:
            tensors[name] = weight(seed, name, shape, gain).to(dtype)
    return tensors


def weight(seed: int, name: str, shape: list[int], gain: float = 1.0) -> Tensor:
    """Return one float32 tensor of a network, scaled so that activations neither vanish nor grow.

    Matrices and convolutions have variance gain^2 / fan in. Vectors have standard deviation 0.1, around 1 for norms'
    weights and running variances, which are told by their names, and around 0 for all others.
    """
    values = uniform(seed, name, shape)
    if len(shape) > 1:
        return values * (gain / math.sqrt(math.prod(shape[1:])))
    around_one = name.endswith((".weight", "running_var"))
    return values * 0.1 + (1.0 if around_one else 0.0)


def position_ids(shape: list[int]) -> Tensor:
    """Return 0, 1, 2, ... in row-major order, int64; a scalar, such as a number of batches, is 0."""
    return torch.arange(math.prod(shape)).reshape(shape)


def uniform(seed: int, name: str, shape: list[int] | tuple[int, ...]) -> Tensor:
    """Return float32 numbers of mean 0 and variance 1, uniform between -sqrt(3) and sqrt(3).

    >>> uniform(0, "noise", (2, 3)).shape
    torch.Size([2, 3])
    """
    bits = np.random.Philox(key=seed_of(seed, name)).random_raw(math.prod(shape)) >> np.uint64(40)
    values = (bits.astype(np.float64) / 2**23 - 1) * math.sqrt(3)
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(shape))


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Return a drawn picture (height, width, 3) uint8: gradients of colour, two boxes and a fine checkerboard.

    It is computed in whole numbers throughout, so that it has the same bytes on every machine.

    >>> picture(0, 48, 64).shape
    (48, 64, 3)
    """
    draw = np.random.Philox(key=seed_of(seed, "picture")).random_raw
    y, x = np.mgrid[:height, :width]
    colours = [(draw(3) % np.uint64(256)).astype(np.int64) for _ in range(6)]
    left_colour, right_colour, top_colour, bottom_colour, *box_colours = colours
    across = (left_colour * (width - 1 - x[..., None]) + right_colour * x[..., None]) // max(1, width - 1)
    down = (top_colour * (height - 1 - y[..., None]) + bottom_colour * y[..., None]) // max(1, height - 1)
    pixels = (across + down) // 2
    for colour in box_colours:
        left, top = (int(v) for v in draw(2) % np.array([width * 2 // 3, height * 2 // 3], np.uint64))
        right, bottom = left + width // 4, top + height // 4
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        pixels[inside] = colour
    pixels += ((x // 4 + y // 4) % 2 * 16 - 8)[..., None]
    return pixels.clip(0, 255).astype(np.uint8)


def pictures(seeds: Sequence[int], height: int, width: int) -> Tensor:
    """Return drawn pictures (B, 3, height, width) uint8, one for each seed."""
    stack = np.stack([picture(seed, height, width) for seed in seeds])
    return torch.from_numpy(stack).permute(0, 3, 1, 2)
