"""How a reference image of any shape reaches a tokenizer, and how the tokenizer's output comes back to that shape.

Square references are resized to the tokenizer's own size and back. Under protocols that keep the size of photographs,
a tokenizer gets the reference with a border ("pad"), or shrunk into a square ("box"); see `lactok.images.Prepare`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lactok import images
from lactok.errors import WrongValue
from lactok.specs import TokenizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.images import Filter, Prepare, Rounding

GREY = 0.5  # of the border of "pad": 0 in [-1, 1], as SEED-Voken's evaluation pads


def refusal(spec: TokenizerSpec, how: Prepare) -> str:
    """Return why a tokenizer cannot be measured on references of this kind, "" where it can.

    >>> from lactok.images import Prepare
    >>> refusal(TokenizerSpec("x", "x", 256, 16384, 256, 256, "MIT"), Prepare(None, "pad"))
    'x takes images of 256x256 px alone, and this protocol keeps the size of photographs; choose a `protocol` that \
resizes them, such as tokbench or paper-1024'
    """
    if how.crop != "pad" or spec.input_size is None:
        return ""
    return (
        f"{spec.name} takes images of {spec.input_size}x{spec.input_size} px alone, and this protocol keeps the size "
        "of photographs; choose a `protocol` that resizes them, such as tokbench or paper-1024"
    )


def tokenizer_input(reference: np.ndarray, how: Prepare, spec: TokenizerSpec) -> Tensor:
    """Return what a tokenizer gets of a reference.

    Args:
        reference: (H, W, 3) uint8.
        how: the protocol's settings.
        spec: the tokenizer's spec.

    Returns:
        (3, h, w) float32 in [0, 1]: `input_size` a side, or any sides where that is None.

    Raises:
        WrongValue: the protocol keeps the size of photographs, and the tokenizer takes another alone.
    """
    if how.crop == "pad":
        return _padded(reference, how, spec)
    if how.crop == "box" and how.resolution is not None:
        reference = _boxed(reference, how.resolution)
    return images.tokenizer_input(reference, spec.input_size, spec.resample)


def reconstructions(
    output: Tensor,
    shape: tuple[int, int],
    how: Prepare,
    *,
    enlarge: Filter = "bicubic",
    rounding: Rounding = "nearest",
    multiple: int = 1,
) -> Tensor:
    """Return a tokenizer's output at the size of the references that it was given, as the protocol rounds it.

    Args:
        output: (B, 3, h, w) float32 in [0, 1].
        shape: the height and width of the references, the same for all.
        how: the settings by which they reached the tokenizer.
        enlarge: the filter by which output is brought to the references' resolution.
        rounding: how values become uint8.
        multiple: what the tokenizer's sides are a multiple of, see `TokenizerSpec`.

    Returns:
        (B, 3, H, W) uint8.

    Raises:
        WrongValue: under "pad", the output has another size than the input.
    """
    if how.crop == "pad":
        height, width = shape
        top, left = border(height, multiple)[0], border(width, multiple)[0]
        expected = tuple(sum(border(side, multiple)) + side for side in shape)
        if tuple(output.shape[-2:]) != expected:
            given = tuple(output.shape[-2:])
            raise WrongValue(f"the tokenizer returns images of {given} for such of {expected}; it needs an own size")
        output = output[..., top : top + height, left : left + width]
        return images.to_uint8(output, rounding)
    if how.resolution is None:
        raise WrongValue(f"`resolution` None: {how.crop} needs one")
    square = images.to_uint8(images.to_resolution(output, how.resolution, enlarge), rounding)
    return _unboxed(square, shape, how.resolution) if how.crop == "box" else square


def border(side: int, multiple: int) -> tuple[int, int]:
    """Return how many pixels a side gets before and after it to become a multiple: as many, or one more after it.

    >>> border(37, 16), border(32, 16)
    ((5, 6), (0, 0))
    """
    spare = -side % multiple
    return spare >> 1, spare - (spare >> 1)


def _padded(reference: np.ndarray, how: Prepare, spec: TokenizerSpec) -> Tensor:
    """Return a reference with a grey border, (3, h, w) float32 in [0, 1], its sides multiples of the tokenizer's."""
    import torch.nn.functional as F

    why = refusal(spec, how)
    if why:
        raise WrongValue(why)
    plane = images.tokenizer_input(reference, None, spec.resample)
    rows, columns = (border(side, spec.multiple) for side in reference.shape[:2])
    return F.pad(plane, (*columns, *rows), value=GREY)


def _box(shape: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """Return where a reference lies in the square: left, top, width, height; the sides are rounded up, as TokBench's.

    >>> _box((300, 400), 256)
    (0, 32, 256, 192)
    """
    height, width = shape
    scale = min(side / width, side / height)
    inner = min(side, math.ceil(width * scale)), min(side, math.ceil(height * scale))
    return (side - inner[0]) // 2, (side - inner[1]) // 2, *inner


def _boxed(reference: np.ndarray, side: int) -> np.ndarray:
    """Return a reference in the middle of a black square, (side, side, 3) uint8, its longer side resized to `side`."""
    left, top, width, height = _box((reference.shape[0], reference.shape[1]), side)
    square = Image.new("RGB", (side, side))
    square.paste(Image.fromarray(reference).resize((width, height), images.FILTERS["lanczos"]), (left, top))
    return np.asarray(square)


def _unboxed(squares: Tensor, shape: tuple[int, int], side: int) -> Tensor:
    """Return the middle of squares (B, 3, side, side) uint8 at the references' size, (B, 3, H, W) uint8."""
    import torch

    left, top, width, height = _box(shape, side)
    size, found = (shape[1], shape[0]), []
    for square in squares[..., top : top + height, left : left + width]:
        picture = images.to_pil(square).resize(size, images.FILTERS["lanczos"])
        found.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return torch.stack(found)
