"""Train a MaskGIT-VQGAN, whose ids TiTok's first stage learns to predict: L2, LPIPS and codebook losses.

The network is maskgit's VQGAN (Chang et al. 2022, arXiv 2202.04200), trained without its discriminator and its
logit-Laplace loss. Dead-code revival is an addition of this project.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lactok.config import Side
from lactok.errors import UserError
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo
from lactok.training.held_out import codes_used, compare
from lactok.training.pixel_loss import SquaredErrorRecipe
from lactok.training.pretrained import lpips_network
from lactok.training.recipe import check_learns


def check_widths(shape: MaskGITConfig) -> None:
    """Raise UserError if the VQGAN has a width that its group norms cannot divide."""
    for width in shape.widths:
        if width % shape.groups:
            raise UserError(f"channels x channel_mult = {width}: must be a multiple of groups = {shape.groups}")


@dataclass(frozen=True, kw_only=True)
class ProxyRecipe(CodebookRecipe, SquaredErrorRecipe):
    """A recipe for a MaskGIT-VQGAN.

    Attributes:
        model: the shape of the network.
        eval_size: side in pixels of the held-out photographs.
    """

    model: MaskGITConfig
    eval_size: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(self.model)
        side = 2 ** (len(self.model.channel_mult) - 1)
        if self.crop % side or self.eval_size % side:
            raise UserError(f"crop and eval_size must be multiples of {side}, a code's pixels along a side")
        check_learns(l2=self.l2, lpips=self.lpips)


class ProxyLearner(CodebookLearner):
    """A MaskGIT-VQGAN and LPIPS."""

    def __init__(self, recipe: ProxyRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = MaskGITVQGAN(recipe.model)
        self.track_codebook(recipe, self.model.quantize, "model.quantize.embedding.weight")
        self.lpips = lpips_network(recipe.lpips_net)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the squared error, LPIPS and the codebook loss, and these parts."""
        codes, parts = self.quantize(self.model.encoder(images / 2 + 0.5), step)
        output = self.model.decoder(codes).float() * 2 - 1
        loss, of_pixels = self.recipe.pixel_loss(self.lpips, output, images)
        return loss + self.recipe.codebook * parts["codebook"], parts | of_pixels

    def decayed(self, name: str, parameter: torch.nn.Parameter) -> bool:
        """As `Learner.decayed`, without the codebook."""
        return super().decayed(name, parameter) and name != self.codebook_name

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR, LPIPS and the number of codes in use, and reconstructions beside their photographs."""

        def reconstruct(image: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            ids = self.model.encode(image / 2 + 0.5)
            return self.model.decode(ids) * 2 - 1, {"ids": ids}

        values, shown, more = compare(photos, self.recipe.eval_size, reconstruct, self.lpips)
        return values | {"codes_used": codes_used(more["ids"])}, shown

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of the VQGAN."""
        return self.model.state_dict()

    def notes(self) -> dict[str, Any]:
        """Return the shape of the network."""
        return {"config": {"model": asdict(self.recipe.model)}}
