"""The loss of decoded images that LaCTok's stage 2 and its control, the plain decoder, are trained by."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from lactok.config import Weight
from lactok.nn.lpips import LPIPS
from lactok.training.colour import colour_error
from lactok.training.recipe import Recipe, check_lpips_net


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
        loss = parts["lpips"] + self.l1 * parts["l1"]
        if self.lab:
            parts["lab"] = colour_error(output, images)
            loss = loss + self.lab * parts["lab"]
        return loss, parts
