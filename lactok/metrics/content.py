"""Whether a reconstruction still shows the same thing: the class that a classifier names, and CLIP's embedding.

Neither says that pixels are alike: a network looks at both images, and its answers are compared. `box_agreement`, which
compares the boxes of a detector, is a plug-in that lies beside the detectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.metrics.inception_features import INCEPTION_TF1, classifier
from lactok.metrics.registry import metric
from lactok.metrics.vision_features import CLIP_336, clip_features
from lactok.nn.inception_checkpoint import INCEPTION, INCEPTION_CLASSIFIER

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def labels(images: Tensor, device: str = "cpu") -> np.ndarray:
    """Return the likeliest of Inception's 1008 classes (B,) int64 of images (B, 3, H, W) uint8.

    The last layer is without its bias, as for the Inception Score.
    """
    import numpy as np

    logits = INCEPTION_TF1.compute(images, device).astype(np.float64) @ classifier().T.astype(np.float64)
    return logits.argmax(1)


@metric(
    "label_agreement",
    title="same label",
    higher=True,
    networks=(INCEPTION, INCEPTION_CLASSIFIER),
    libraries=("torch-fidelity",),
    flops_a_pixel=90_000,
    reference_part=labels,
    listed=False,
)
def label_agreement(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: np.ndarray | None = None
) -> Tensor:
    """Return 1 where FID's Inception names the same class of photograph and reconstruction, else 0, (B,) float64.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: where the network computes.
        known: the classes of the references, see `labels`.
    """
    import torch

    found = labels(references, device) if known is None else known
    return torch.from_numpy(found == labels(outputs, device)).double()


@metric(
    "clip_similarity",
    title="CLIP similarity",
    higher=True,
    networks=CLIP_336.networks,
    libraries=CLIP_336.libraries,
    flops_a_pixel=3_400_000,
    reference_part=clip_features,
    listed=False,
)
def clip_similarity(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: np.ndarray | None = None
) -> Tensor:
    """Return the cosine (B,) float64 of CLIP ViT-L/14@336's embeddings of photographs and reconstructions, -1 to 1.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: where the network computes.
        known: the embeddings of the references, (B, 768) of length 1.
    """
    import torch

    found = clip_features(references, device) if known is None else known
    first, second = (torch.from_numpy(each).double() for each in (found, clip_features(outputs, device)))
    return torch.nn.functional.cosine_similarity(first, second)
