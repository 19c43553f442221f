"""`delta_e`: how different colours look to the eye, and an example of a metric that a plug-in adds to lactok.

It is the mean over all pixels of CIEDE2000, the colour difference that the CIE recommends; the eye just notices a
difference of about 1.
"""

import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

import lactok


@lactok.metric("delta_e", title="ΔE 2000", higher=False, digits=2, libraries=("scikit-image",))
def delta_e(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the mean colour difference of each pair of images.

    Args:
        references, outputs: sRGB images (B, 3, H, W) uint8.
        device: not used; scikit-image computes on the CPU.

    Returns:
        (B,) float64, 0 for equal images.
    """
    reference_lab = rgb2lab(references.permute(0, 2, 3, 1).numpy())
    output_lab = rgb2lab(outputs.permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(deltaE_ciede2000(reference_lab, output_lab).mean((1, 2)))
