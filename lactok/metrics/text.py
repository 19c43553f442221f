"""Whether text can still be read: an OCR reads reconstructions, and what it reads is compared with what is there.

What is there is the sample's text, where the data set has it; else what the OCR reads in the photograph itself, as the
protocol has prepared it. With known texts, the value of the rows `identity` and `resize-256` is the ceiling that the
protocol's size and the OCR leave to every tokenizer.

The OCR is PP-OCRv6 (small) as the package rapidocr ships and calls it, on one thread, so that it reads the same on any
number of threads: it finds lines, turns those that stand upside down, and reads Latin letters, Chinese and Japanese.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lactok.extras import extras_named
from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

LIBRARIES = ("rapidocr", "onnxruntime")
REMEMBERED = 1024  # images whose text is kept: two metrics and several tokenizers ask for the same ones
_read: dict[bytes, str] = {}  # the digest of an image's pixels -> what it says


def check() -> None:
    """Raise MissingPackage where the OCR is not installed."""
    with extras_named(("ocr",), "a metric of text"):
        import onnxruntime  # noqa: F401
        import rapidocr  # noqa: F401


@metric(
    "text_cer",
    title="text CER",
    higher=False,
    texts=True,
    libraries=LIBRARIES,
    check=check,
    flops_a_pixel=20_000,
    listed=False,
)
def text_cer(
    references: Tensor, outputs: Tensor, device: str = "cpu", texts: Sequence[str | None] | None = None
) -> Tensor:
    """Return the character error rate (B,) float64 of what an OCR reads in images: 0 to 1, lower is better.

    It is the edit distance to the text that is there, divided by that text's characters; spaces do not count, and more
    than 1 is 1. It is nan for an image without any text.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: not used; the OCR runs on the CPU.
        texts: what each reference says, None where nobody knows it; None if all are unknown.
    """
    import torch

    pairs = _there_and_read(references, outputs, texts)
    return torch.tensor([character_error_rate(there, read) for there, read in pairs], dtype=torch.float64)


@metric(
    "text_accuracy",
    title="words read",
    higher=True,
    texts=True,
    libraries=LIBRARIES,
    check=check,
    flops_a_pixel=20_000,
    listed=False,
)
def text_accuracy(
    references: Tensor, outputs: Tensor, device: str = "cpu", texts: Sequence[str | None] | None = None
) -> Tensor:
    """Return the share (B,) float64 of the words of images that an OCR reads without an error, 0 to 1.

    Words are what stands between spaces, in any order; a Chinese or Japanese line is one word. It is nan for an image
    without any text. The arguments are those of `text_cer`.
    """
    import torch

    pairs = _there_and_read(references, outputs, texts)
    return torch.tensor([share_of_words(there, read) for there, read in pairs], dtype=torch.float64)


def _there_and_read(references: Tensor, outputs: Tensor, texts: Sequence[str | None] | None) -> list[tuple[str, str]]:
    """Return what is there and what is read of each pair of images."""
    known = [None] * len(references) if texts is None else texts
    there = [reading(image) if text is None else text for image, text in zip(references, known, strict=True)]
    return [(text, reading(image)) for text, image in zip(there, outputs, strict=True)]


def character_error_rate(there: str, read: str) -> float:
    """Return the edit distance of two texts as a share of the first one's characters, 1 at most; nan if it is empty.

    Spaces do not count, and letters in other Unicode forms are the same.

    >>> character_error_rate("a red bus", "ared bos")
    0.14285714285714285
    """
    first, second = ("".join(unicodedata.normalize("NFKC", text).split()) for text in (there, read))
    return min(1.0, edit_distance(first, second) / len(first)) if first else float("nan")


def share_of_words(there: str, read: str) -> float:
    """Return the share of a text's words that another text has too, each as often as it is there; nan if it is empty.

    >>> share_of_words("a red red bus", "bus red")
    0.5
    """
    first, second = (Counter(unicodedata.normalize("NFKC", text).split()) for text in (there, read))
    return (first & second).total() / first.total() if first else float("nan")


def edit_distance(first: str, second: str) -> int:
    """Return how many letters have to be put in, taken out or changed to turn one text into another (Levenshtein 1966).

    >>> edit_distance("kitten", "sitting")
    3
    """
    letters = np.array([ord(letter) for letter in second], np.int64)
    places = np.arange(len(second) + 1)
    row = places
    for number, letter in enumerate(first, 1):
        without = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        costs = np.concatenate([[number], without])
        row = np.minimum.accumulate(costs - places) + places  # putting letters in, from the left
    return int(row[-1])


def reading(image: Tensor) -> str:
    """Return what the OCR reads in a uint8 image (3, H, W): its lines from the top, with a space between them."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
    if key not in _read:
        if len(_read) >= REMEMBERED:
            del _read[next(iter(_read))]
        found = _engine()(np.ascontiguousarray(pixels[..., ::-1])).txts  # it takes OpenCV's order of colours
        _read[key] = " ".join(found or ())
    return _read[key]


@lru_cache(maxsize=1)
def _engine() -> Any:
    """Return the OCR, as the package has it but for its log and its threads."""
    check()
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "error", **threads})
