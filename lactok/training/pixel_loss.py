"""The losses of pixels: squared error and LPIPS of tokenizers; LPIPS and absolute error of LaCTok and its control."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from lactok.config import Weight
from lactok.nn.lpips import LPIPS
from lactok.training.colour import colour_error
from lactok.training.recipe import Recipe, check_lpips_net


@dataclass(frozen=True, kw_only=True)
class SquaredErrorRecipe(Recipe):
    """The keys of a recipe whose loss of pixels is the squared error and LPIPS.

    Attributes:
        l2: weight of the squared error of pixels in [-1, 1].
        lpips: weight of LPIPS.
        lpips_net: network of LPIPS, "alex" or "vgg".
        lab: weight of the error of blurred colours, see `lactok.training.colour`.
    """

    l2: Weight = 1.0
    lpips: Weight = 0.1
    lpips_net: str = "alex"
    lab: Weight = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lpips_net(self.lpips_net)

    def pixel_loss(self, lpips: LPIPS, output: Tensor, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts, of reconstructions and images (B, 3, S, S), the images in [-1, 1]."""
        parts = {"l2": F.mse_loss(output, images), "lpips": lpips(output, images).float().mean()}
        return with_colours(self.l2 * parts["l2"] + self.lpips * parts["lpips"], parts, self.lab, output, images)


@dataclass(frozen=True, kw_only=True)
class DecodedRecipe(Recipe):
    """The keys of a recipe whose loss is that of decoded images.

    Attributes:
        lpips_net: network of LPIPS, "alex" or "vgg".
        l1: weight of the absolute error beside LPIPS; 0 in the paper.
        lab: weight of the error of blurred colours, see `lactok.training.colour`; 0 in the paper.
    """

    lpips_net: str = "vgg"
    l1: Weight = 0.0
    lab: Weight = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lpips_net(self.lpips_net)

    def decoded_loss(self, lpips: LPIPS, output: Tensor, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts.

        Args:
            lpips: the network.
            output: decoded images (B, 3, S, S), about in [-1, 1], not clamped, so that all pixels have a gradient.
            images: the photographs (B, 3, S, S) in [-1, 1].
        """
        output = output.float()
        parts = {"lpips": lpips(output, images).float().mean(), "l1": F.l1_loss(output, images)}
        return with_colours(parts["lpips"] + self.l1 * parts["l1"], parts, self.lab, output, images)


def with_colours(
    loss: Tensor, parts: dict[str, Tensor], weight: float, output: Tensor, images: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a loss and its parts with the error of blurred colours added, where its weight is not 0."""
    if not weight:
        return loss, parts
    error = colour_error(output, images)
    return loss + weight * error, parts | {"lab": error}
