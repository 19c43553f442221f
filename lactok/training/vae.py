"""Trains the VAE that LaCTok's decoder works in: diffusers' `AutoencoderKL`, absolute error, LPIPS and a KL term.

After Rombach et al. 2022, arXiv 2112.10752, section 3.1 without the adversary: at the sizes trained here it costs more
than it brings.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.lactok import VAEShape
from lactok.nn.lpips import load_lpips
from lactok.randomness import noise
from lactok.training.data import Photo, centre_square, to_tensor
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """`l1`, `lpips`, `kl`: weights of the losses; `lpips_net` is alex or vgg."""

    model: VAEShape
    l1: float = 1.0
    lpips: float = 0.25
    lpips_net: str = "alex"
    kl: float = 1e-6
    eval_size: int = 256


class VAELearner(Learner):
    def __init__(self, recipe: VAERecipe):
        from diffusers import AutoencoderKL

        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.scaling = 1.0
        self.vae = AutoencoderKL(**recipe.model.arguments())
        if recipe.checkpointing:
            self.vae.enable_gradient_checkpointing()
        self.lpips = copy.deepcopy(load_lpips(recipe.lpips_net, "cpu"))  # moved and sharded with the rest

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        posterior = self.vae.encode(images).latent_dist
        draw = noise(seeds, tuple(posterior.mean.shape[1:]), "posterior").to(images)
        output = self.vae.decode(posterior.mean + posterior.std * draw).sample
        perceptual = self.lpips(output, images).float().mean()
        parts = {"l1": F.l1_loss(output.float(), images), "lpips": perceptual, "kl": posterior.kl().float().mean()}
        recipe = self.recipe
        return recipe.l1 * parts["l1"] + recipe.lpips * parts["lpips"] + recipe.kl * parts["kl"], parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        psnr, lpips, deviations = [], [], []
        pictures: list[Tensor] = []
        device = next(self.vae.parameters()).device
        for photo in photos:
            image = to_tensor([centre_square(photo.open_rgb(), self.recipe.eval_size)]).to(device)
            latents = self.vae.encode(image).latent_dist.mean
            output = self.vae.decode(latents).sample.clamp(-1, 1)
            psnr.append(-10 * torch.log10(F.mse_loss(output, image) / 4))
            lpips.append(self.lpips(output, image)[0])
            deviations.append(latents.std())
            if len(pictures) < 8:
                pictures += [image, output]
        lists = {"psnr": psnr, "lpips": lpips, "latent_deviation": deviations}
        values = {k: float(torch.stack(v).mean()) for k, v in lists.items()}
        self.scaling = 1 / values["latent_deviation"]
        return values, torch.cat(pictures)

    def notes(self) -> dict[str, Any]:
        """`scaling` brings the latents of held-out photographs to a standard deviation of 1."""
        return {"scaling": self.scaling, "config": {"model": asdict(self.recipe.model)}}

    def exported(self) -> dict[str, Tensor]:
        return self.vae.state_dict()
