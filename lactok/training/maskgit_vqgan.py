"""Trains a MaskGIT-VQGAN, whose codes TiTok's first stage learns to predict: L2, LPIPS and codebook losses.

After maskgit's VQGAN (Chang et al. 2022, arXiv 2202.04200) without its adversary and its logit-Laplace loss; dead codes
are revived, which is ours.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.errors import UserError, unknown
from lactok.nn.lpips import load_lpips
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo
from lactok.training.held_out import compare


def check_pixel(pixel: MaskGITConfig) -> None:
    """Raise UserError for widths that the group norms cannot divide."""
    odd = [w for w in pixel.widths if w % pixel.groups]
    if odd:
        raise UserError(f"channels x channel_mult = {odd[0]}: must be a multiple of groups = {pixel.groups}")


@dataclass(frozen=True, kw_only=True)
class ProxyRecipe(CodebookRecipe):
    """`l2` (of pixels in [-1, 1]), `lpips`: weights of the losses; `lpips_net` is alex or vgg."""

    model: MaskGITConfig
    l2: float = 1.0
    lpips: float = 0.1
    lpips_net: str = "alex"
    eval_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pixel(self.model)
        side = 2 ** (len(self.model.channel_mult) - 1)
        if self.crop % side or self.eval_size % side:
            raise UserError(f"crop and eval_size must be multiples of {side}, a code's pixels along a side")
        if self.lpips_net not in ("alex", "vgg"):
            raise unknown("lpips_net", self.lpips_net, ("alex", "vgg"))


class ProxyLearner(CodebookLearner):
    def __init__(self, recipe: ProxyRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = MaskGITVQGAN(recipe.model)
        self.watch(recipe, self.model.quantize, "model.quantize.embedding.weight")
        self.lpips = copy.deepcopy(load_lpips(recipe.lpips_net, "cpu"))  # moved and sharded with the rest

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        codes, parts = self.quantized(self.model.encoder(images / 2 + 0.5), step)
        output = self.model.decoder(codes).float() * 2 - 1
        parts["l2"] = F.mse_loss(output, images)
        parts["lpips"] = self.lpips(output, images).float().mean()
        recipe = self.recipe
        return recipe.l2 * parts["l2"] + recipe.lpips * parts["lpips"] + recipe.codebook * parts["codebook"], parts

    def decayed(self, name: str, parameter: torch.nn.Parameter) -> bool:
        return super().decayed(name, parameter) and name != self.table

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        def reconstruct(image: Tensor) -> tuple[Tensor, Tensor]:
            ids = self.model.encode(image / 2 + 0.5)
            return self.model.decode(ids) * 2 - 1, ids

        return compare(photos, self.recipe.eval_size, reconstruct, self.lpips)

    def exported(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"config": {"model": asdict(self.recipe.model)}}
