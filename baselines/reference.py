"""Reference rows for every comparison: the image itself, plain thumbnails, and image codecs within a budget of bits.

They have no ids, and they work at the resolution of the protocol.
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

# a codec may spend its bits on a smaller image, whose sides are these fractions of the original's
SCALES = (1.0, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 3 / 32, 1 / 16)
# how many qualities are tried on either side of the highest one that fits the budget
WINDOW = 3


def _spec(name: str, note: str, bits: Option | None = None) -> TokenizerSpec:
    """Return the spec of a row; `bits` is its option of that name, if it has one."""
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
    """Images (B, 3, H, W) in [0, 1] -> PIL images, rounded to the nearest of 256 levels."""
    arrays = (batch * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def to_batch(images: list[Image.Image]) -> Tensor:
    """PIL images of one size -> (B, 3, H, W) float32 in [0, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


@register(_spec("identity", "nothing lost: the ceiling of every metric"))
class Identity(Reconstructor):
    """Returns the image itself, at 24 bits a pixel."""

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        images = self.checked_inputs(images)
        bits = 24.0 * images.shape[-1] * images.shape[-2]
        return images, torch.full((len(images),), bits, dtype=torch.float64)


@register(_spec("resize-8", "a thumbnail of 8x8 pixels: 1536 bits"), side=8)
@register(_spec("resize-12", "a thumbnail of 12x12 pixels: 3456 bits"), side=12)
@register(_spec("resize-16", "a thumbnail of 16x16 pixels: 6144 bits"), side=16)
@register(_spec("resize-256", "what 256 px keep of the protocol's resolution"), side=256)
class Resize(Reconstructor):
    """Shrinks an image to `side` x `side` pixels of 24 bits and enlarges it again, both by antialiased bicubic.

    A tokenizer that spends as many bits should do better.
    """

    def __init__(self, spec: TokenizerSpec, side: int):
        super().__init__(spec)
        self.side = side

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size, small = (images.shape[-1], images.shape[-2]), (self.side, self.side)
        bicubic = Image.Resampling.BICUBIC
        out = [image.resize(small, bicubic).resize(size, bicubic) for image in to_images(self.checked_inputs(images))]
        return to_batch(out), torch.full((len(out),), 24.0 * self.side**2, dtype=torch.float64)


@dataclass(frozen=True)
class Attempt:
    """An encoded file that was tried.

    Attributes:
        size: the file's size in bytes.
        squared_error: mean squared error of the decoded image at the original's size, for values in [0, 255].
        decoded: the decoded image at the original's size.
    """

    size: int
    squared_error: float
    decoded: Image.Image


def _codec_bits() -> Option:
    """Return the option of the codecs that sets their budget."""
    return Option(3584, "budget of a file in bits; 3584 are 256 tokens of 16384 codes", low=64, high=1e9)


@register(_spec("jpeg", "the best JPEG within the bits", _codec_bits()), format="JPEG", qualities=(1, 95))
@register(_spec("webp", "the best WebP within the bits", _codec_bits()), format="WEBP", qualities=(0, 100))
@register(_spec("avif", "the best AVIF within the bits", _codec_bits()), format="AVIF", qualities=(0, 100))
class Codec(Reconstructor):
    """Encodes an image as the file of highest PSNR within a budget of bits, over all `SCALES` and qualities.

    Where no file is small enough, the smallest one is taken, and the row reports its real bits, which exceed the
    budget. At each scale the highest quality within the budget is found by bisection; because the size of a file does
    not rise strictly with its quality, `WINDOW` qualities on either side are tried too.

    Args:
        format: "JPEG", "WEBP" or "AVIF".
        qualities: lowest and highest quality that Pillow takes for the format.

    Raises:
        UserError: Pillow was built without the format.
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
        self.format = format
        self.qualities = qualities
        self.budget = int(spec.values.get("bits", 3584)) // 8  # in bytes

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        best = [self.search(image) for image in to_images(self.checked_inputs(images))]
        bits = torch.tensor([8.0 * attempt.size for attempt in best], dtype=torch.float64)
        return to_batch([attempt.decoded for attempt in best]), bits

    def search(self, image: Image.Image) -> Attempt:
        """Return the best file of one image."""
        attempts: list[Attempt] = []
        for scale in SCALES:
            attempts += self._search_scale(image, scale)
        fitting = [attempt for attempt in attempts if attempt.size <= self.budget]
        if fitting:
            return min(fitting, key=lambda attempt: (attempt.squared_error, attempt.size))
        return min(attempts, key=lambda attempt: (attempt.size, attempt.squared_error))

    def _search_scale(self, image: Image.Image, scale: float) -> list[Attempt]:
        """Return the files within the budget near its edge at one scale; if none fits, the one of lowest quality."""
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        source = image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)

        @cache  # the bisection and the window ask for some qualities twice
        def encoded(quality: int) -> bytes:
            return self._encode_file(source, quality)

        lowest, highest = self.qualities
        fits, exceeds = lowest, highest + 1
        while exceeds - fits > 1:
            middle = (fits + exceeds) // 2
            if len(encoded(middle)) <= self.budget:
                fits = middle
            else:
                exceeds = middle
        window = range(max(lowest, fits - WINDOW), min(highest, fits + WINDOW) + 1)
        fitting = [quality for quality in window if len(encoded(quality)) <= self.budget]
        return [self._attempt(encoded(quality), image) for quality in fitting or [lowest]]

    def _encode_file(self, image: Image.Image, quality: int) -> bytes:
        """Return the content of the image's file."""
        out = io.BytesIO()
        image.save(out, self.format, quality=quality, **self.SETTINGS[self.format])
        return out.getvalue()

    def _attempt(self, data: bytes, image: Image.Image) -> Attempt:
        """Decode a file, enlarge the result to the original's size, and compare it with the original `image`."""
        decoded = Image.open(io.BytesIO(data)).convert("RGB")
        if decoded.size != image.size:
            decoded = decoded.resize(image.size, Image.Resampling.BICUBIC)
        difference = np.asarray(decoded, np.float32) - np.asarray(image, np.float32)
        return Attempt(len(data), float(np.square(difference).mean()), decoded)
