"""Train the VAE of LaCTok's latents: diffusers' `AutoencoderKL` with absolute error, LPIPS and a KL term.

Source: Rombach et al. 2022, arXiv 2112.10752, section 3.1. The discriminator is left out, since for networks of the
size trained here it costs more than it gains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.config import Side, Weight
from lactok.errors import UserError
from lactok.nn.lactok import VAEShape
from lactok.randomness import noise
from lactok.training.data import Photo
from lactok.training.held_out import compare
from lactok.training.learner import Learner
from lactok.training.pretrained import lpips_network
from lactok.training.recipe import Recipe, check_learns, check_lpips_net


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """A recipe for a VAE.

    Attributes:
        model: the shape of the network.
        l1: weight of the absolute error of pixels in [-1, 1].
        lpips: weight of LPIPS.
        lpips_net: network of LPIPS, "alex" or "vgg".
        kl: weight of the KL divergence of the posterior from the standard normal distribution.
        eval_size: side in pixels of the held-out photographs.
    """

    model: VAEShape
    l1: Weight = 1.0
    lpips: Weight = 0.25
    lpips_net: str = "alex"
    kl: Weight = 1e-6
    eval_size: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lpips_net(self.lpips_net)
        check_learns(l1=self.l1, lpips=self.lpips)
        side = 2 ** (len(self.model.channels) - 1)
        if self.crop % side or self.eval_size % side:
            raise UserError(f"crop and eval_size must be multiples of {side}, a latent's pixels along a side")


class VAELearner(Learner):
    """The VAE and LPIPS.

    Attributes:
        scaling: the factor that brings the latents to a standard deviation of 1, measured by `evaluate`.
    """

    def __init__(self, recipe: VAERecipe):
        from diffusers import AutoencoderKL

        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.scaling = 1.0
        self.vae = AutoencoderKL(**recipe.model.arguments())
        if recipe.checkpointing:
            self.vae.enable_gradient_checkpointing()
        self.lpips = lpips_network(recipe.lpips_net)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the absolute error, LPIPS and the KL term, and these parts."""
        posterior = self.vae.encode(images).latent_dist
        draw = noise(seeds, tuple(posterior.mean.shape[1:]), "posterior").to(images)
        output = self.vae.decode(posterior.mean + posterior.std * draw).sample
        perceptual = self.lpips(output, images).float().mean()
        parts = {"l1": F.l1_loss(output.float(), images), "lpips": perceptual, "kl": posterior.kl().float().mean()}
        recipe = self.recipe
        return recipe.l1 * parts["l1"] + recipe.lpips * parts["lpips"] + recipe.kl * parts["kl"], parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR, LPIPS and the latents' standard deviation, and reconstructions beside their photographs."""

        def reconstruct(image: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            # in float32, since the weights' file states the scaling that follows
            with torch.autocast(image.device.type, enabled=False):
                latents = self.vae.encode(image).latent_dist.mean
            return self.vae.decode(latents).sample, {"deviation": latents.std()}

        values, shown, more = compare(photos, self.recipe.eval_size, reconstruct, self.lpips)
        values["latent_deviation"] = float(torch.stack(more["deviation"]).mean())
        self.scaling = 1 / values["latent_deviation"]
        return values, shown

    def notes(self) -> dict[str, Any]:
        """Return the scaling of the latents and the shape of the network."""
        return {"scaling": self.scaling, "config": {"model": asdict(self.recipe.model)}}

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of the VAE."""
        return self.vae.state_dict()
