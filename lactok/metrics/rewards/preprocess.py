"""How the published scorers bring an image to 224 px: three ways that differ by more than rounding.

All return (3, 224, 224) float32, normalised by CLIP's mean and deviation.
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
    """Short side to 224 by PIL's bicubic, central square: OpenAI's CLIP, open_clip, ImageReward."""
    square = center_crop(resize(image.convert("RGB"), SIZE, InterpolationMode.BICUBIC), [SIZE, SIZE])
    return normalize(to_tensor(square), MEAN, STD)


@lru_cache(maxsize=1)
def _processor() -> Any:
    import transformers

    # from transformers 5 on, CLIPImageProcessor itself resizes by torchvision, which differs by a grey level
    return getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)()


def transformers_clip(image: Image.Image) -> Tensor:
    """transformers' CLIPImageProcessor, as it was while it used PIL: PickScore and MPS."""
    return _processor()(images=image, return_tensors="pt")["pixel_values"][0]


def hps(image: Image.Image, antialias: bool) -> Tensor:
    """Long side to 224 by bicubic on the tensor, zeros around it: HPSv2 (tgxs002/HPSv2, open_clip/transform.py).

    Args:
        antialias: torchvision did not antialias tensors before 0.17, which HPSv2 was trained and published with.
    """
    plane = to_tensor(image.convert("RGB"))
    height, width = plane.shape[1:]
    scale = SIZE / max(height, width)
    if scale != 1.0:
        plane = resize(
            plane,
            [max(1, round(height * scale)), max(1, round(width * scale))],
            InterpolationMode.BICUBIC,
            antialias=antialias,
        )
    # upstream pads only what it has resized, so that 224x100 pixels would not fit its network
    spare_h, spare_w = SIZE - plane.shape[1], SIZE - plane.shape[2]
    plane = pad(plane, [spare_w // 2, spare_h // 2, spare_w - spare_w // 2, spare_h - spare_h // 2])
    return normalize(plane, MEAN, STD)


def batch(images: list[Tensor], device: str) -> Tensor:
    return torch.stack(images).to(device)
