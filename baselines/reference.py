"""What every comparison needs: nothing lost, a plain thumbnail at the same bits, and image codecs at a bit budget.

These rows have no ids. They work at the resolution of the protocol.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from lactok.errors import UserError
from lactok.registry import register
from lactok.specs import Option, TokenizerSpec
from lactok.tokenizer import Reconstructor

SCALES = (1.0, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 3 / 32, 1 / 16)  # of the side that a codec is given
WINDOW = 3  # qualities tried on either side of the budget's edge: sizes rise with quality but for a few bytes


def _info(name: str, note: str, bits: Option | None = None) -> TokenizerSpec:
    return TokenizerSpec(
        name=name,
        family="reference",
        tokens=None,
        codebook_size=None,
        input_size=None,
        output_size=None,
        license="-",
        options={"bits": bits} if bits else {},
        note=note,
    )


def to_images(batch: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] -> PIL images, rounded to nearest."""
    stack = (batch * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(a) for a in stack]


def to_batch(images: list[Image.Image]) -> Tensor:
    stack = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255


@register(_info("identity", "nothing lost: the ceiling of every metric"))
class Identity(Reconstructor):
    """The image itself, at 24 bits a pixel."""

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bits = 24.0 * images.shape[-1] * images.shape[-2]
        return images, torch.full((len(images),), bits, dtype=torch.float64)


@register(_info("resize-8", "a thumbnail of 8x8 pixels: 1536 bits"), side=8)
@register(_info("resize-12", "a thumbnail of 12x12 pixels: 3456 bits"), side=12)
@register(_info("resize-16", "a thumbnail of 16x16 pixels: 6144 bits"), side=16)
@register(_info("resize-256", "what 256 px keep of the protocol's resolution"), side=256)
class Resize(Reconstructor):
    """Down to `side` x `side` pixels by antialiased bicubic, 24 bits each, and back: the floor at the same bits."""

    def __init__(self, spec: TokenizerSpec, side: int):
        super().__init__(spec)
        self.side = side

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size, small = (images.shape[-1], images.shape[-2]), (self.side, self.side)
        bicubic = Image.Resampling.BICUBIC
        out = [image.resize(small, bicubic).resize(size, bicubic) for image in to_images(images)]
        return to_batch(out), torch.full((len(out),), 24.0 * self.side**2, dtype=torch.float64)


@dataclass(frozen=True)
class Attempt:
    """One encoded file: its bytes, and the error of its decoded picture at the full size."""

    size: int
    squared_error: float
    picture: Image.Image


def _codec_bits() -> Option:
    return Option(3584, "budget of a file in bits; 3584 are 256 tokens of 16384 codes", low=64, high=1e9)


@register(_info("jpeg", "the best JPEG within the bits", _codec_bits()), format="JPEG", qualities=(1, 95))
@register(_info("webp", "the best WebP within the bits", _codec_bits()), format="WEBP", qualities=(0, 100))
@register(_info("avif", "the best AVIF within the bits", _codec_bits()), format="AVIF", qualities=(0, 100))
class Codec(Reconstructor):
    """The file of highest PSNR within the budget over `SCALES` and all qualities.

    Where no file is small enough the smallest is taken, and its real bits, above the budget, are what the row
    reports. The size rises with quality but for a few bytes, so the edge of the budget is bisected and `WINDOW`
    qualities on either side are tried.
    """

    SETTINGS: ClassVar[dict[str, dict[str, object]]] = {
        "JPEG": {"optimize": True, "subsampling": 2},
        "WEBP": {"method": 6},
        "AVIF": {"speed": 6, "max_threads": 1},
    }

    def __init__(self, spec: TokenizerSpec, format: str, qualities: tuple[int, int]):
        super().__init__(spec)
        if not features.check({"JPEG": "jpg"}.get(format, format.lower())):
            raise UserError(f"{spec.name}: this Pillow was built without {format}; reinstall it from its wheel")
        self.format, self.qualities = format, qualities
        self.budget = int(spec.values.get("bits", 3584)) // 8

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        best = [self.search(image) for image in to_images(images)]
        bits = torch.tensor([8.0 * attempt.size for attempt in best], dtype=torch.float64)
        return to_batch([attempt.picture for attempt in best]), bits

    def search(self, image: Image.Image) -> Attempt:
        """The best file of one image."""
        attempts: list[Attempt] = []
        for scale in SCALES:
            attempts += self._search_scale(image, scale)
        fitting = [a for a in attempts if a.size <= self.budget]
        if fitting:
            return min(fitting, key=lambda a: (a.squared_error, a.size))
        return min(attempts, key=lambda a: (a.size, a.squared_error))

    def _search_scale(self, image: Image.Image, scale: float) -> list[Attempt]:
        side = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        source = image.resize(side, Image.Resampling.BICUBIC) if side != image.size else image
        files = cache(lambda quality: self._encode_file(source, quality))
        low, high = self.qualities
        below, above = low, high + 1
        while above - below > 1:
            middle = (below + above) // 2
            if len(files(middle)) <= self.budget:
                below = middle
            else:
                above = middle
        tried = range(max(low, below - WINDOW), min(high, below + WINDOW) + 1)
        kept = [q for q in tried if len(files(q)) <= self.budget] or [low]
        return [self._attempt(files(q), image) for q in kept]

    def _encode_file(self, image: Image.Image, quality: int) -> bytes:
        out = io.BytesIO()
        image.save(out, self.format, quality=quality, **self.SETTINGS[self.format])
        return out.getvalue()

    def _attempt(self, data: bytes, image: Image.Image) -> Attempt:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        if picture.size != image.size:
            picture = picture.resize(image.size, Image.Resampling.BICUBIC)
        difference = np.asarray(picture, np.float32) - np.asarray(image, np.float32)
        return Attempt(len(data), float(np.square(difference).mean()), picture)
