"""Features of whole images by two vision transformers: DINOv2's, for FD-DINOv2, and CLIP's, for CMMD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.registry import Features
from lactok.nn.vision_checkpoint import CLIP_L_14_336, DINOV2_L

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

DINOV2_SIDE, CLIP_SIDE = 224, 336  # pixels
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def resized(images: Tensor, side: int, crop: bool = False) -> Tensor:
    """Resize images (B, 3, H, W) uint8 to (B, 3, side, side) float32 in [0, 1] by PIL's bicubic, which antialiases.

    Args:
        images: the images.
        side: of the result.
        crop: whether images that are not square are cropped at the centre, instead of squashed.
    """
    import numpy as np
    import torch
    from PIL import Image

    if crop:
        height, width = images.shape[-2:]
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        images = images[..., top : top + square, left : left + square]
    arrays = []
    for image in images.cpu():
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        arrays.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def normalised(images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> the same with each channel's mean taken off and divided by its deviation."""
    import torch

    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def dinov2_features(images: Tensor, device: str) -> np.ndarray:
    """Return DINOv2's class tokens (B, 1024) float32 of images (B, 3, H, W) uint8, as dgm-eval computes them.

    Images are squashed to 224 px.
    """
    from lactok.nn import vision

    pixels = normalised(resized(images, DINOV2_SIDE), IMAGENET_MEAN, IMAGENET_STD).to(device)
    return vision.dinov2(device)(pixel_values=pixels).pooler_output.float().cpu().numpy()


def clip_features(images: Tensor, device: str) -> np.ndarray:
    """Return CLIP's image embeddings (B, 768) float32 of length 1 of images (B, 3, H, W) uint8, as CMMD takes them.

    Images are cropped to the central square and resized to 336 px.
    """
    from lactok.nn import vision

    pixels = normalised(resized(images, CLIP_SIDE, crop=True), CLIP_MEAN, CLIP_STD).to(device)
    embeddings = vision.clip_l_14_336(device)(pixel_values=pixels).image_embeds.float()
    return (embeddings / embeddings.norm(dim=-1, keepdim=True)).cpu().numpy()


DINOV2 = Features("dinov2_vitl14", dinov2_features, (DINOV2_L,), ("transformers",), 162e9)
CLIP_336 = Features("clip_vitl14_336", clip_features, (CLIP_L_14_336,), ("transformers",), 382e9)
