"""`delta_e`: how far colours are off to the eye, by CIEDE2000, and an example of a metric for lactok.

The mean over all pixels of the colour difference that the CIE recommends; 1 is about what an eye just notices.
"""

import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

import lactok


@lactok.metric("delta_e", title="ΔE 2000", higher=False, digits=2, libraries=("scikit-image",))
def delta_e(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """uint8 batches (B, 3, H, W) -> (B,) float64; sRGB under D65."""
    first, second = (rgb2lab(images.permute(0, 2, 3, 1).numpy()) for images in (references, outputs))
    return torch.from_numpy(deltaE_ciede2000(first, second).mean((1, 2)))
