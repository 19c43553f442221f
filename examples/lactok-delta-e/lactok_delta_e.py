"""`delta_e_76`: how far colours are apart, and an example of a metric that a plug-in adds to lactok.

It is the mean over all pixels of CIE76, the plain distance in CIELAB. lactok's own `delta_e` is the later CIEDE2000,
which is nearer to what the eye sees.
"""

import torch
from skimage.color import deltaE_cie76, rgb2lab
from torch import Tensor

import lactok


@lactok.metric("delta_e_76", title="ΔE 1976", higher=False, digits=2, libraries=("scikit-image",))
def delta_e_76(references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
    """Return the mean colour difference of each pair of images.

    Args:
        references, outputs: sRGB images (B, 3, H, W) uint8.
        device: not used; scikit-image computes on the CPU.

    Returns:
        (B,) float64, 0 for equal images.
    """
    reference_lab = rgb2lab(references.permute(0, 2, 3, 1).numpy())
    output_lab = rgb2lab(outputs.permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(deltaE_cie76(reference_lab, output_lab).mean((1, 2)))
