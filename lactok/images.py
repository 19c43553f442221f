"""How pixels travel: photographs become reference images, these a tokenizer's input, its output the scored pixels.

Evaluation, training and `Tokenizer.reconstruct_image` open photographs by these functions. torch is imported inside
the functions that need it, so that protocols can be read without it.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lactok.errors import MissingFile, WrongValue
from lactok.files import is_file
from lactok.outside_text import shown

if TYPE_CHECKING:
    from torch import Tensor

# files with these endings are taken for photographs, by evaluation and training
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
BICUBIC, BILINEAR, BOX = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX
FILTERS = {"bicubic": BICUBIC, "bilinear": BILINEAR, "lanczos": Image.Resampling.LANCZOS}
SMALLEST = 32  # pixels of a side that metrics need: the coarsest layers of LPIPS have none left below

Crop = Literal["resize-then-crop", "adm", "albumentations", "squash", "pad", "box"]
Filter = Literal["bicubic", "bilinear", "lanczos"]
Rounding = Literal["nearest", "truncate", "llamagen", "seed-voken"]


@dataclass(frozen=True)
class Prepare:
    """How a photograph becomes the reference image, and how a tokenizer gets that.

    The photograph is laid over white where it is transparent, and brought from 16 bits to 8. Where the reference is a
    square, a tokenizer gets it at its own size by its own filter, computed on uint8. Where the reference is the
    photograph at its own size ("pad", "box"), `lactok.fitting` says what a tokenizer gets.

    Attributes:
        resolution: the side of the square in pixels that a photograph is brought to; None for "pad" alone.
        crop: what becomes of a photograph that is no square:
            "resize-then-crop" brings the shorter side to `resolution` and cuts the central square (torchvision's Resize
            and CenterCrop on PIL images);
            "adm" halves by box filter while the shorter side is twice the resolution or more, then goes on likewise
            (guided-diffusion, LlamaGen);
            "albumentations" does as "resize-then-crop", by bilinear interpolation without antialiasing (SmallestMaxSize
            and CenterCrop of albumentations, as IBQ's data);
            "squash" stretches it to the square, so that nothing is cut and shapes are distorted;
            "pad" keeps it as it is: a tokenizer gets it with a grey border up to a multiple of its own, and the border
            is cut off its output;
            "box" keeps it as it is: a tokenizer gets it shrunk into the middle of a black square of `resolution`, and
            that part of its output is brought back to the photograph's size (TokBench).
        version: a number that is raised by hand when the same settings give other pixels.
        upright: whether a photograph is turned as its EXIF orientation says; evaluations that open files by PIL alone
            take the pixels as they lie in the file.
        filter: the filter of PIL, with antialiasing, by which "resize-then-crop", "adm" and "squash" resize.
        margin: for "resize-then-crop", the shorter side is brought to `margin` times the resolution before the square
            is cut; VAR cuts 256 px out of 288.
    """

    resolution: int | None
    crop: Crop = "resize-then-crop"
    version: int = 1
    upright: bool = True
    filter: Filter = "bicubic"
    margin: float = 1.0

    def settings(self) -> dict[str, object]:
        """Return all that decides the pixels; a field that was added later stands here where it is not the default.

        So the hashes of protocols that it does not change stay what they were.

        >>> Prepare(256).settings()
        {'resolution': 256, 'crop': 'resize-then-crop', 'version': 1}
        """
        later = {f.name: f.default for f in fields(self) if f.name in ("upright", "filter", "margin")}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}

    @property
    def keeps_shape(self) -> bool:
        """Whether a reference has the size of its photograph, so that references are of many shapes."""
        return keeps_shape(self.crop)

    @property
    def rough_pixels(self) -> int:
        """The number of pixels of a reference, for estimates; of a photograph at its own size, those of 640x480."""
        return 640 * 480 if self.keeps_shape or self.resolution is None else self.resolution**2

    @property
    def size_text(self) -> str:
        """The size of the references, for people.

        >>> Prepare(256).size_text, Prepare(None, "pad").size_text, Prepare(512, "box").size_text
        ('256 px', 'own size', 'own size, by way of 512 px')
        """
        return size_text(self.resolution, self.crop)


def keeps_shape(crop: str) -> bool:
    """Return whether references have the size of their photographs under a protocol of this `crop`."""
    return crop in ("pad", "box")


def size_text(resolution: int | None, crop: str) -> str:
    """Return the size of a protocol's references, for people; see `Prepare`."""
    if not keeps_shape(crop):
        return f"{resolution} px"
    return "own size" if resolution is None else f"own size, by way of {resolution} px"


class UnreadableImage(Exception):
    """A photograph that cannot be used; the message says why. An evaluation leaves it out and goes on."""


class _Quiet:
    """Ignore warnings, of bombs and of damaged metadata, in `with` blocks that threads may be in at the same time.

    The first thread to enter changes Python's filters of warnings, which are one list for all threads, and the last one
    to leave restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._ignoring = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._ignoring = warnings.catch_warnings()
                self._ignoring.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._ignoring.__exit__(None, None, None)


_QUIET = _Quiet()
_OPENING = threading.Lock()


def _opened(file: Path | BinaryIO) -> Image.Image:
    """Open an image file by Pillow, which reads its header.

    Pillow imports its decoders when it first needs them, and a thread that looks for one while another thread imports
    it may take the file for no image; so one thread opens at a time. Pixels are decoded later.
    """
    with _OPENING:
        return Image.open(file)


def open_photograph(file: Path | BinaryIO, upright: bool = True) -> Image.Image:
    """Open an image file as 8-bit RGB: transparency over white, 16 bits scaled to 8.

    Args:
        file: a path, or a file that is open for reading bytes.
        upright: whether the image is turned as its EXIF orientation says.

    Raises:
        UnreadableImage: the file is no image, is truncated or is unreasonably large, or its pixels are decimal numbers
            or integers of more than 16 bits, which have no range of their own.
    """
    try:
        with _QUIET, _opened(file) as image:
            if image.format == "EPS":  # a program, which Pillow gives to Ghostscript
                raise UnreadableImage("not an image")
            image.load()
            return to_rgb(image, upright)
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image") from error
    except UnreadableImage:
        raise
    except Exception as error:  # decoders of damaged files raise anything
        lines = str(error).strip().splitlines()
        raise UnreadableImage(lines[0][:200] if lines else type(error).__name__) from error


def size_of(file: Path | BinaryIO, upright: bool = True) -> tuple[int, int] | None:
    """Return an image file's width and height without decoding it; None where that cannot be done.

    Args:
        file: a path, or a file that is open for reading bytes.
        upright: whether the image is turned as its EXIF orientation says.
    """
    try:
        with _QUIET, _opened(file) as image:
            width, height = image.size
            turned = upright and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (height, width) if turned else (width, height)
    except Exception:  # decoders of damaged files raise anything
        return None


def open_picture(picture: str | PathLike[str] | Image.Image | np.ndarray) -> Image.Image:
    """Return a picture, in any of the forms that Python users have, as upright 8-bit RGB.

    Args:
        picture: a file's path, a PIL image, or an array (H, W, 3) or (H, W) uint8.

    Raises:
        MissingFile: there is no such file.
        WrongValue: this is no picture; the message says why.
    """
    if isinstance(picture, Image.Image):
        try:
            return to_rgb(picture)
        except (UnreadableImage, OSError, ValueError) as error:
            raise WrongValue(f"the picture cannot be used: {error}") from error
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
            raise WrongValue(f"a picture is an array (H, W, 3) or (H, W) uint8, not {picture.shape} {picture.dtype}")
        if not picture.size:
            raise WrongValue(f"a picture has pixels, and this array none: {picture.shape}")
        return to_rgb(Image.fromarray(picture))
    if not isinstance(picture, str | PathLike):
        raise WrongValue(f"a picture is a path, a PIL image or an array, not a {type(picture).__name__}")
    if not is_file(Path(picture)):
        raise MissingFile(f"no such file {shown(picture, 200)}")
    try:
        return open_photograph(Path(picture))
    except UnreadableImage as error:
        raise WrongValue(f"{picture}: {error}") from error


def to_rgb(image: Image.Image, upright: bool = True) -> Image.Image:
    """Return an image of any mode as 8-bit RGB: 16 bits are scaled to 8, transparency is laid over white.

    Args:
        image: the image.
        upright: whether it is turned as its EXIF orientation says.

    Raises:
        UnreadableImage: it has no pixels, or pixels whose range is not known: decimal numbers, integers of 32 bits.
    """
    if min(image.size) < 1:
        raise UnreadableImage("holds no pixels")
    if image.mode == "F":
        raise UnreadableImage("holds decimal numbers; save it as 8 or 16 bits")
    bits = _integer_bits(image)
    if upright:
        image = ImageOps.exif_transpose(image)
    if bits:
        values = np.asarray(image)
        levels = (np.arange(2**bits) / ((2**bits - 1) / 255)).round().astype(np.uint8)
        return Image.fromarray(levels[values]).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _integer_bits(image: Image.Image) -> int:
    """Return how many bits the levels of a grey image of more than 8 bits have by its file's own word, 0 for others.

    Raises:
        UnreadableImage: integers with a sign, or of 32 bits: nothing says which of them is white.
    """
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return 0
    tags = getattr(image, "tag_v2", {})  # of a TIFF file
    bits = int(tags.get(258, (16,))[0])  # BitsPerSample
    if image.mode == "I" and image.format != "PPM":  # Pillow scales a PPM's levels to 16 bits
        raise UnreadableImage("holds integers of 32 bits or with a sign; save it as 8 or 16 bits")
    return min(bits, 16)


def prepare(image: Image.Image, how: Prepare) -> np.ndarray:
    """Return the reference image of a photograph, (H, W, 3) uint8: a square of `resolution`, or its own size.

    Raises:
        UnreadableImage: the protocol keeps a photograph's size, and this one is too small for the metrics.
    """
    if how.keeps_shape or how.resolution is None:
        if min(image.size) < SMALLEST:
            raise UnreadableImage(f"has {image.width}x{image.height} pixels; metrics need {SMALLEST} a side")
        return np.asarray(image)
    size = how.resolution
    if how.crop == "squash":
        return np.asarray(image.resize((size, size), FILTERS[how.filter]))
    # Crop first where the shape is extreme: 20000x10 pixels would become 512000x256. Only what lies far outside the
    # central square goes, so the filter sees the same neighbours of the pixels that are kept.
    image = _central_strip(image)
    if how.crop == "albumentations":
        return _albumentations(image, size)
    if how.crop == "adm":
        while min(image.size) >= 2 * size:
            image = image.resize((image.width // 2, image.height // 2), BOX)
        scale = size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), FILTERS[how.filter])
        left, top = (image.width - size) // 2, (image.height - size) // 2
    else:
        width, height = image.size
        shorter, longer = min(width, height), max(width, height)
        side = round(how.margin * size)
        other = int(side * longer / shorter)  # as torchvision's Resize: cut, not rounded
        image = image.resize((side, other) if width <= height else (other, side), FILTERS[how.filter])
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)  # as CenterCrop
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _albumentations(image: Image.Image, size: int) -> np.ndarray:
    """Return the central square (size, size, 3) uint8 of an image whose shorter side was brought to `size`.

    That is SmallestMaxSize and CenterCrop of albumentations, whose default is OpenCV's bilinear interpolation without
    antialiasing; OpenCV computes it in integers, so single pixels may differ from its by one level.
    """
    import torch
    import torch.nn.functional as F

    scale = size / min(image.size)
    plane = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    shape = (round(image.height * scale), round(image.width * scale))
    resized = F.interpolate(plane, shape, mode="bilinear", align_corners=False).round().clamp(0, 255)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    square = resized[0, :, top : top + size, left : left + size]
    return square.permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


def _central_strip(image: Image.Image, ratio: int = 8) -> Image.Image:
    """Cut both ends off an image that is more than `ratio` times as long as it is wide."""
    shorter, longer = min(image.size), max(image.size)
    if longer <= ratio * shorter:
        return image
    spare = (longer - ratio * shorter) // 2
    box = (spare, 0, longer - spare, shorter) if image.width > image.height else (0, spare, shorter, longer - spare)
    return image.crop(box)


def tokenizer_input(reference: np.ndarray, size: int | None, resample: str) -> Tensor:
    """Return a reference image at a tokenizer's size, resized on uint8 by the tokenizer's own filter.

    Args:
        reference: (R, R, 3) uint8.
        size: the side that the tokenizer takes, or None for any.
        resample: the filter, see `lactok.specs.Resample`.

    Returns:
        (3, size, size) float32 in [0, 1].
    """
    import torch
    import torch.nn.functional as F

    if size is not None and size != reference.shape[0]:
        if resample == "bilinear":  # without antialias, which PIL does not have
            plane = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None].float() / 255
            return F.interpolate(plane, (size, size), mode="bilinear", align_corners=False)[0]
        filter = FILTERS[resample.removesuffix("-aa")]
        reference = np.asarray(Image.fromarray(reference).resize((size, size), filter))
    return torch.from_numpy(reference.copy()).permute(2, 0, 1).float() / 255


def to_resolution(output: Tensor, resolution: int, filter: str = "bicubic") -> Tensor:
    """Resize images (B, 3, S, S) in [0, 1] to (B, 3, resolution, resolution); antialiased when they shrink.

    Args:
        output: the images.
        resolution: the side that they get.
        filter: "bicubic" or "bilinear".
    """
    import torch.nn.functional as F

    size = output.shape[-1]
    if size == resolution:
        return output
    out = F.interpolate(output, (resolution, resolution), mode=filter, align_corners=False, antialias=size > resolution)
    return out.clamp(0, 1)


def to_uint8(output: Tensor, rounding: Rounding) -> Tensor:
    """Round images, float32 in [0, 1] of any shape, to uint8 as the protocol says."""
    import torch

    if rounding == "nearest":
        return (output * 255).round().clamp(0, 255).to(torch.uint8)
    if rounding == "truncate":
        return (output * 255).clamp(0, 255).to(torch.uint8)
    if rounding == "seed-voken":
        return _by_way_of_signed(output)
    return (127.5 * (2 * output - 1) + 128).clamp(0, 255).to(torch.uint8)  # LlamaGen's own: half a level up, then cut


def _by_way_of_signed(output: Tensor) -> Tensor:
    """Round images in [0, 1] to uint8 as SEED-Voken's evaluation: from [-1, 1], in float32, by cutting off.

    There the levels 1 to 95 fall by one, since float32 rounds x + 1 for dark x. A value that float32 cannot tell from a
    level counts as that level, so that an image which nothing changed falls as its original does.
    """
    import torch

    levels = output.double() * 255
    nearest = levels.round()
    levels = torch.where((levels - nearest).abs() < 2e-5, nearest, levels)
    signed = (levels / 127.5 - 1).float()
    return ((signed + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)


def to_pil(image: Tensor) -> Image.Image:
    """Return an image (3, H, W) uint8 as a PIL image."""
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def png(image: Tensor | Image.Image, compress_level: int = 6) -> bytes:
    """Return an image as the bytes of a PNG file, the same ones every time.

    Args:
        image: (3, H, W) uint8, or PIL's.
        compress_level: how hard the file is compressed, 1 to 9; at 2 it is about a tenth larger than at 6, and written
            in a third of the time.
    """
    out = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else to_pil(image)
    picture.save(out, "PNG", optimize=False, compress_level=compress_level)
    return out.getvalue()
