"""The three ways in which the published rewards resize an image to 224 px; they differ by more than rounding.

Each returns (3, 224, 224) float32, normalised by CLIP's mean and standard deviation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, normalize, pad, resize, to_tensor

SIZE = 224
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def openai(image: Image.Image) -> Tensor:
    """Resize the shorter side to 224 by PIL's bicubic and crop the centre, as CLIP, open_clip and ImageReward do."""
    square = center_crop(resize(image.convert("RGB"), SIZE, InterpolationMode.BICUBIC), [SIZE, SIZE])
    return normalize(to_tensor(square), MEAN, STD)


@lru_cache(maxsize=1)
def _processor() -> Any:
    """Return transformers' image processor of CLIP that resizes by PIL."""
    import transformers

    # from transformers 5 on, CLIPImageProcessor resizes by torchvision, which differs by up to one grey level
    return getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)()


def transformers_clip(image: Image.Image) -> Tensor:
    """Preprocess an image by transformers' CLIPImageProcessor in its PIL version, as PickScore and MPS do."""
    return _processor()(images=image, return_tensors="pt")["pixel_values"][0]


def hps(image: Image.Image, antialias: bool) -> Tensor:
    """Resize the longer side to 224 by bicubic on the tensor and pad with zeros, as HPSv2 does.

    Source: tgxs002/HPSv2, open_clip/transform.py.

    Args:
        image: an image of any mode and size.
        antialias: whether to antialias. HPSv2 asks for no version of torchvision: before 0.17 tensors were not
            antialiased, since then they are.
    """
    pixels = to_tensor(image.convert("RGB"))
    height, width = pixels.shape[1:]
    scale = SIZE / max(height, width)
    if scale != 1.0:
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        pixels = resize(pixels, size, InterpolationMode.BICUBIC, antialias=antialias)
    # HPSv2 pads only images that it has resized, so that an image of 224x100 pixels would not fit its network
    missing_height, missing_width = SIZE - pixels.shape[1], SIZE - pixels.shape[2]
    left, top = missing_width // 2, missing_height // 2
    pixels = pad(pixels, [left, top, missing_width - left, missing_height - top])
    return normalize(pixels, MEAN, STD)


def batch(images: list[Tensor], device: str) -> Tensor:
    """Stack preprocessed images into (B, 3, 224, 224) on a device."""
    return torch.stack(images).to(device)
