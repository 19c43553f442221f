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
from lactok.training.pixel_loss import with_colours
from lactok.training.pretrained import find_weights, load_weights, lpips_network, shape_of
from lactok.training.recipe import Recipe, check_begins, check_learns, check_lpips_net
from lactok.weights.metadata import notes


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """A recipe for a VAE.

    Attributes:
        model: the shape of the network; only needed if it starts from nothing.
        start: weights of a VAE that the training goes on from; empty: random ones.
        decoder_only: train the decoder alone, for other pictures, as Stable Diffusion's `ft-mse` VAE was; latents, and
            networks that work in them, stay as they are. Needs `start`.
        l1: weight of the absolute error of pixels in [-1, 1].
        lpips: weight of LPIPS.
        lpips_net: network of LPIPS, "alex" or "vgg".
        lab: weight of the error of blurred colours, see `lactok.training.colour`.
        kl: weight of the KL divergence of the posterior from the standard normal distribution.
        eval_size: side in pixels of the held-out photographs.
    """

    model: VAEShape | None = None
    start: str = ""
    decoder_only: bool = False
    l1: Weight = 1.0
    lpips: Weight = 0.25
    lpips_net: str = "alex"
    lab: Weight = 0.0
    kl: Weight = 1e-6
    eval_size: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lpips_net(self.lpips_net)
        check_learns(l1=self.l1, lpips=self.lpips)
        if self.decoder_only and not self.start:
            raise UserError("decoder_only = true: `start` names the VAE whose decoder is trained on")
        check_begins("model", self.model, self.start)
        if self.model is not None:
            self.check_sides(self.model)

    def check_sides(self, shape: VAEShape) -> None:
        """Raise UserError if images are not a whole number of a network's latents high and wide."""
        side = 2 ** (len(shape.channels) - 1)
        if self.crop % side or self.eval_size % side:
            raise UserError(f"crop and eval_size must be multiples of {side}, a latent's pixels along a side")


class VAELearner(Learner):
    """The VAE and LPIPS.

    Attributes:
        scaling: the factor that brings the latents to a standard deviation of 1, measured by `evaluate`; with
            `decoder_only` that of the VAE which was begun with.
    """

    def __init__(self, recipe: VAERecipe):
        from diffusers import AutoencoderKL

        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.scaling = 1.0
        self.shape = recipe.model or shape_of(recipe.start, "model", VAEShape, "start")
        recipe.check_sides(self.shape)
        self.vae = AutoencoderKL(**self.shape.arguments())
        if recipe.start:
            load_weights(self.vae, recipe.start, "start")
            self.scaling = notes(find_weights(recipe.start, "start")).get("scaling", self.scaling)
        if recipe.decoder_only:
            for part in (self.vae.encoder, self.vae.quant_conv):
                part.requires_grad_(False)
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
        loss = recipe.l1 * parts["l1"] + recipe.lpips * parts["lpips"] + recipe.kl * parts["kl"]
        return with_colours(loss, parts, recipe.lab, output.float(), images)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR, LPIPS and the latents' standard deviation, and reconstructions beside their photographs."""

        def reconstruct(image: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            # in float32, since the weights' file states the scaling that follows
            with torch.autocast(image.device.type, enabled=False):
                latents = self.vae.encode(image).latent_dist.mean
            return self.vae.decode(latents).sample, {"deviation": latents.std()}

        values, shown, more = compare(photos, self.recipe.eval_size, reconstruct, self.lpips)
        values["latent_deviation"] = float(torch.stack(more["deviation"]).mean())
        if not self.recipe.decoder_only:
            self.scaling = 1 / values["latent_deviation"]
        return values, shown

    def notes(self) -> dict[str, Any]:
        """Return the scaling of the latents and the shape of the network."""
        return {"scaling": self.scaling, "config": {"model": asdict(self.shape)}}

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of the VAE."""
        return self.vae.state_dict()
