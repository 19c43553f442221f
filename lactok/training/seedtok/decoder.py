"""SeedTok's stage 2: the diffusion decoder learns to paint the teacher's embeddings.

A linear predictor, where the shape has one, begins as the regression of latents on embeddings; the diffusion paints
what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.lactok import drawn_latents, moments
from lactok.nn.latent_decoder import fold_upsampling
from lactok.nn.unclip import UnCLIP
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo
from lactok.training.feature_cache import Frozen
from lactok.training.ldm import timesteps
from lactok.training.pretrained import load_weights
from lactok.training.seedtok.learner import SeedTokLearner, seeds_of, share_right
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import fid_features, inception_features

DIFFUSION = ("unclip.unet", "unclip.text_encoder", "unclip.image_normalizer")
RIDGE = 0.3  # of the predictor's least squares, for each picture, whose embedding has about unit variance


class PaintingLearner(SeedTokLearner):
    """A stage with the diffusion decoder; its VAE is frozen and in no export."""

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        assert recipe.vae
        self.decoder_shape, vae = recipe.decoder_shape(), recipe.vae.arguments()
        self.unclip = UnCLIP(self.decoder_shape.config(self.shape.features, vae, recipe.crop))
        load_weights(self.unclip.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=recipe.vae.scaling)
        fold_upsampling(self.unclip.vae.decoder)
        self.unclip.requires_grad_(False)
        self.unclip.unet.requires_grad_(True)
        self.unclip.text_encoder.requires_grad_(True)
        self.moments = Frozen(partial(moments, self.unclip.vae), recipe.variants > 0)

    @property
    def decoder_parts(self) -> tuple[str, ...]:
        """The submodules that stage 2 writes."""
        return DIFFUSION if self.unclip.predictor is None else (*DIFFUSION, "unclip.predictor")

    def train(self, mode: bool = True) -> PaintingLearner:
        super().train(mode)
        self.unclip.vae.eval()
        # the gradient of a group norm is many times slower in the layout of the others
        self.unclip.vae.to(memory_format=torch.contiguous_format)
        return self

    def painted(self, embeds: Tensor, seeds: Tensor, steps: int, guidance: float = 1.0, visible: float = 1.0) -> Tensor:
        """Paint embeddings (B, features) as the tokenizer decodes them: pictures (B, 3, S, S) around [-1, 1].

        Args:
            seeds: (B,).
            steps: of the sampler.
            visible: how much of the diffusion shows, 0 to 1.
        """
        unclip = self.unclip
        start = unclip.start(seeds).to(embeds)
        draw = noise(seeds, embeds.shape[1:], "embedding").to(embeds)
        latents = unclip.sample(embeds, start, draw, steps, guidance)
        if visible < 1:
            latents = torch.lerp(unclip.predicted(embeds), latents, visible)
        return unclip.decode_latents(latents.contiguous()) * 2 - 1

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """What the tokenizer makes of images (B, 3, S, S) in [-1, 1]."""
        return self.painted(self.predicted(images), seeds, self.recipe.eval_steps).clamp(-1, 1)

    def picture_figures(self, images: Tensor, seeds: Tensor) -> tuple[dict[str, float], Tensor]:
        """LPIPS of reconstructions, the share whose nearest photograph by FID's features is the right one, examples."""
        pictures = torch.cat([self.reconstruct(i, s) for i, s in zip(images.split(1), seeds.split(1), strict=True)])
        pairs = list(zip(pictures.split(1), images.split(1), strict=True))
        shown = torch.cat([inception_features(self.inception, picture) for picture, _ in pairs])
        meant = torch.cat([self.meant(image) for _, image in pairs])
        values = {
            "lpips": math.fsum(float(self.lpips(picture, image)) for picture, image in pairs) / len(pairs),
            "right": share_right(fid_features(shown), fid_features(meant)),
        }
        return values, torch.stack([images[:8], pictures[:8]], 1).flatten(0, 1)

    def notes(self) -> dict[str, Any]:
        assert self.recipe.vae
        notes = super().notes()
        config = notes["config"] | {"unclip": asdict(self.decoder_shape)}
        return notes | {"scaling": self.recipe.vae.scaling, "config": config}


class DecoderLearner(PaintingLearner):
    """Stage 2."""

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.parts = self.decoder_parts
        if self.unclip.predictor is not None:
            nn.init.zeros_(self.unclip.predictor.weight)  # until it is fitted

    def remembered(self) -> dict[str, Tensor]:
        if (predictor := self.unclip.predictor) is None:
            return super().remembered()
        return super().remembered() | {"weight": predictor.weight.detach(), "bias": predictor.bias.detach()}

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher, then the predictor, the first time."""
        super().fit_teachers()
        if (predictor := self.unclip.predictor) is not None and not predictor.weight.any():
            self.regress(predictor)

    def regress(self, predictor: nn.Linear) -> None:
        """Fit the decoder's predictor to the latents of training photographs by least squares."""
        pairs = [(self.embeds(image), self.latents(image, None)) for image in self.squares(self.recipe.fit)]
        embeds, latents = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        targets = F.adaptive_avg_pool2d(latents, self.unclip.config.predictor).flatten(1)
        predictor.bias.copy_(targets.mean(0))
        ridge = RIDGE * len(pairs) * torch.eye(embeds.shape[1], device=embeds.device)
        normal = embeds.t() @ embeds + ridge
        predictor.weight.copy_(torch.linalg.solve(normal, embeds.t() @ (targets - predictor.bias)).t())

    def latents(self, images: Tensor, draw: Tensor | None) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] -> scaled latents (B, C, h, w).

        Args:
            draw: noise of the latents' shape that draws from the posterior, or None for its mean.
        """
        moments = self.moments(images)
        return drawn_latents(self.unclip.vae, moments, torch.zeros(()) if draw is None else draw)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.fit_teachers()
        return self.diffusion_loss(images, seeds), {}

    def diffusion_loss(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The squared error of the velocity at a uniform time, given the teacher's embeddings."""
        unclip = self.unclip
        shape = unclip.latent_shape
        embeds = self.embeds(images)
        latents = self.latents(images, noise(seeds, shape, "posterior").to(images)) - unclip.predicted(embeds)
        draw = noise(seeds, shape, "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        labels = unclip.class_labels(embeds, noise(seeds, embeds.shape[1:], "embedding").to(embeds))
        dropped = [seed_of(s, "unconditional") % 1000 < 1000 * self.recipe.unconditional for s in seeds.tolist()]
        labels = labels.masked_fill(torch.tensor(dropped, device=labels.device)[:, None], 0.0)
        a = alphas_cumprod(unclip.config.scheduler).to(latents)[t][:, None, None, None]
        noised = a.sqrt() * latents + (1 - a).sqrt() * draw
        prompt = unclip.prompt_embeds().expand(len(labels), -1, -1)
        predicted = unclip.unet(noised, t, prompt, class_labels=labels, return_dict=False)[0]
        return F.mse_loss(predicted.float(), a.sqrt() * draw - (1 - a).sqrt() * latents)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """What the decoder makes of the teacher's embeddings of images (B, 3, S, S) in [-1, 1]."""
        return self.painted(self.embeds(images), seeds, self.recipe.eval_steps).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        return self.picture_figures(self.central_squares(photos), seeds_of(photos))


def alphas_cumprod(scheduler: Mapping[str, Any]) -> Tensor:
    """The signal's share of the variance at a scheduler's training times, (1000,)."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(**scheduler).alphas_cumprod
