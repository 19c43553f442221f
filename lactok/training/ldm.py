"""Train the latent diffusion model that LaCTok's decoder starts from: a UNet like SDXL's, without text.

The UNet predicts the noise in latents of a frozen VAE at uniform timesteps, with SDXL's noise schedule and its
conditioning on the image size. Source: Rombach et al. 2022, arXiv 2112.10752, equation 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lactok.config import Config, Positive, Weight
from lactok.errors import UserError
from lactok.nn import samplers
from lactok.nn.lactok import SDXL_VAE_SHAPE, VAEShape, decode_latents, drawn_latents, moments
from lactok.nn.latent_decoder import UNetShape, fold_cross_attention, size_conditions
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, load_squares
from lactok.training.distributed import each
from lactok.training.feature_cache import FeatureCache
from lactok.training.learner import Learner
from lactok.training.pretrained import load_weights, shape_of
from lactok.training.recipe import Recipe, check_begins

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True, kw_only=True)
class VAEPart(Config):
    """A trained VAE that another training uses, the table [vae] of a recipe.

    Attributes:
        weights: a weight file or the name of an asset.
        scaling: the factor that brings the latents to a standard deviation of 1.
        shape: shape of the network, only needed if the weights do not state it and are not those of SDXL's VAE.
    """

    weights: str
    scaling: Positive = 1.0
    shape: VAEShape | None = None

    def known_shape(self) -> VAEShape:
        """Return the shape of the network: the recipe's, the one that the weights state, or that of SDXL's VAE."""
        return self.shape or shape_of(self.weights, "model", VAEShape, "the VAE", SDXL_VAE_SHAPE)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of diffusers' `AutoencoderKL`."""
        return dict(self.known_shape().arguments()) | {"scaling_factor": self.scaling}

    def load(self) -> AutoencoderKL:
        """Return the network with its weights, frozen and in eval mode."""
        from diffusers import AutoencoderKL

        vae = AutoencoderKL(**self.arguments())
        load_weights(vae, self.weights, "the VAE", within=0.1, scaling=self.scaling)
        return vae.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class LDMRecipe(Recipe):
    """A recipe for a latent diffusion model.

    Attributes:
        unet: the shape of the UNet; only needed if it starts from nothing.
        start: weights of a UNet that the training goes on from, for other pictures or another VAE; empty: random ones.
        vae: the VAE of the latents.
        weight_cap: the largest weight of a timestep in the loss, see `noise_loss`; 0: equal weights.
    """

    unet: UNetShape | None = None
    start: str = ""
    vae: VAEPart
    weight_cap: Weight = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_begins("unet", self.unet, self.start)


class LDMLearner(Learner):
    """The UNet and the frozen VAE."""

    def __init__(self, recipe: LDMRecipe):
        from diffusers import UNet2DConditionModel

        super().__init__()
        self.recipe = recipe
        side = 2 ** (len(recipe.vae.known_shape().channels) - 1)
        if recipe.crop % side:
            raise UserError(f"crop = {recipe.crop}: a multiple of {side}, a latent's pixels along a side")
        self.vae = recipe.vae.load()
        self.moments = FeatureCache(partial(moments, self.vae), recipe.variants > 0)
        torch.manual_seed(recipe.seed)
        self.shape = recipe.unet or shape_of(recipe.start, "unet", UNetShape, "start")
        self.unet = UNet2DConditionModel(**self.shape.arguments())
        fold_cross_attention(self.unet)
        if recipe.start:
            load_weights(self.unet, recipe.start, "start")
        if recipe.checkpointing:
            self.unet.enable_gradient_checkpointing()

    def predict(self, x: Tensor, t: int | Tensor, size: int) -> Tensor:
        """Return the predicted noise in latents.

        Args:
            x: noised latents (B, C, h, w).
            t: the timestep, one for all or (B,).
            size: side of the images in pixels.
        """
        times = torch.as_tensor(t, device=x.device).expand(len(x))
        return self.unet(x, times, None, added_cond_kwargs=size_conditions(self.unet, size, x), return_dict=False)[0]

    @torch.no_grad()
    def latents(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return scaled posterior samples (B, C, h, w) of images (B, 3, S, S) in [-1, 1] with their seeds (B,)."""
        shape = self.latent_shape(images.shape[-1])
        return drawn_latents(self.vae, self.moments(images), noise(seeds, shape, "posterior").to(images))

    def latent_shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape (C, h, w) of the latents of an image of side `size` in pixels."""
        vae = self.vae.config
        side = size // 2 ** (len(vae.block_out_channels) - 1)
        return (vae.latent_channels, side, side)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the error of the predicted noise."""
        latents = self.latents(images, seeds)
        draw = noise(seeds, tuple(latents.shape[1:]), "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        predicted = self.predict(samplers.add_noise(latents, draw, t), t, images.shape[-1])
        return noise_loss(predicted, draw, t, self.recipe.weight_cap), {}

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return the loss on held-out photographs, each with four fixed timesteps and noises; and eight samples."""
        device = next(self.unet.parameters()).device

        def loss(photo: Photo) -> Tensor:
            image = load_squares([photo], self.recipe.crop).to(device)
            seeds = torch.tensor([seed_of("held out", photo.name, i) for i in range(4)])
            return self(image.expand(4, -1, -1, -1), seeds, 0)[0].float().cpu()

        def sample(seed: int) -> Tensor:
            start = noise(torch.tensor([seed]), self.latent_shape(self.recipe.crop), "start").to(device)
            latents = samplers.ddim(lambda x, t: self.predict(x, t, self.recipe.crop).float(), start, 25)
            return decode_latents(self.vae, latents).float().cpu()

        losses = list(each(photos, loss))
        return {"loss": float(torch.stack(losses).mean())}, torch.cat(list(each(range(8), sample)))

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of the UNet."""
        return self.unet.state_dict()

    def notes(self) -> dict[str, Any]:
        """Return the VAE's scaling and the shape of the UNet."""
        return {"scaling": self.recipe.vae.scaling, "config": {"unet": asdict(self.shape)}}


def noise_loss(predicted: Tensor, draw: Tensor, t: Tensor, weight_cap: float = 0.0) -> Tensor:
    """Return the mean squared error of the predicted noise.

    Args:
        predicted: the predicted noise (B, C, h, w).
        draw: the noise.
        t: the timesteps (B,).
        weight_cap: 0 for equal weights of all timesteps, as SDXL and LaCTok are trained. Otherwise a timestep has the
            weight of its error in the clean latents, (1 - a_t) / a_t, but at most this. With it, small models learn the
            high noise levels at which few-step samplers start and to which equal weights give almost no weight.
    """
    squared = (predicted.float() - draw).square().mean((1, 2, 3))
    if weight_cap:
        a = samplers.alphas_cumprod().to(squared)[t]
        squared = squared * ((1 - a) / a).clamp(max=weight_cap)
    return squared.mean()


def timesteps(seeds: Tensor) -> Tensor:
    """Return a random timestep from 0 to 999 for each seed, (B,) int64."""
    return torch.tensor([seed_of(s, "timestep") % samplers.TRAINING_TIMESTEPS for s in seeds.tolist()])
