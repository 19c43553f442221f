"""SeedTok's stage 2: the diffusion decoder learns to decode the teacher's embeddings.

If the decoder has a linear predictor, it is first fitted to predict low-resolution latents from embeddings, and the
diffusion model learns the difference from the true latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.lactok import drawn_latents, moments
from lactok.nn.latent_decoder import fold_upsampling
from lactok.nn.unclip import UnCLIP
from lactok.randomness import noise
from lactok.training.data import Photo, load_squares
from lactok.training.distributed import each
from lactok.training.feature_cache import FeatureCache
from lactok.training.held_out import seeds_of
from lactok.training.ldm import timesteps
from lactok.training.numerics import happens
from lactok.training.pretrained import load_weights
from lactok.training.seedtok.learner import SeedTokLearner, retrieval_accuracy
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import fid_features, inception_features

DIFFUSION_PARTS = ("unclip.unet", "unclip.text_encoder", "unclip.image_normalizer")
RIDGE = 0.3  # ridge penalty of the predictor's least squares, per image; embeddings have a variance of about 1


class DiffusionLearner(SeedTokLearner):
    """What stages 2 and 3 share: the diffusion decoder, whose VAE is frozen and not exported."""

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
        self.moments = FeatureCache(partial(moments, self.unclip.vae), recipe.variants > 0)

    @property
    def decoder_parts(self) -> tuple[str, ...]:
        """The names of the submodules that stage 2 exports."""
        if self.unclip.predictor is None:
            return DIFFUSION_PARTS
        return (*DIFFUSION_PARTS, "unclip.predictor")

    def train(self, mode: bool = True) -> DiffusionLearner:
        """Set the training mode; the VAE stays in eval mode."""
        super().train(mode)
        self.unclip.vae.eval()
        # the gradient of a group norm is many times slower in the channels-last layout of the other networks
        self.unclip.vae.to(memory_format=torch.contiguous_format)
        return self

    def decode_embeds(
        self, embeds: Tensor, seeds: Tensor, steps: int, guidance: float = 1.0, visible: float = 1.0
    ) -> Tensor:
        """Decode embeddings as the tokenizer does.

        Args:
            embeds: (B, features).
            seeds: seeds of the noise (B,).
            steps: number of sampler steps.
            guidance: weight of classifier-free guidance; 1: none.
            visible: share to which the diffusion has faded in, 0 to 1; the rest are the predictor's latents.

        Returns:
            Images (B, 3, S, S), about in [-1, 1], not clamped.
        """
        unclip = self.unclip
        start = unclip.start(seeds).to(embeds)
        draw = noise(seeds, embeds.shape[1:], "embedding").to(embeds)
        latents = unclip.sample(embeds, start, draw, steps, guidance)
        if visible < 1:
            latents = torch.lerp(unclip.predicted(embeds), latents, visible)
        return unclip.decode_latents(latents.contiguous()) * 2 - 1

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the reconstructions of images (B, 3, S, S) in [-1, 1], with their seeds (B,)."""
        return self.decode_embeds(self.predict_embeds(images), seeds, self.recipe.eval_steps).clamp(-1, 1)

    def evaluate_decoder(self, photos: Sequence[Photo]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the reconstructions of photographs.

        Returns:
            LPIPS, and the share of reconstructions whose nearest photograph by FID's features is their own; and eight
            of the photographs, each followed by its reconstruction.
        """

        def score(photo: Photo) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            image = load_squares([photo], self.recipe.crop).to(self.teacher.mean.device)
            output = self.reconstruct(image, seeds_of([photo])).float()
            with torch.autocast(image.device.type, enabled=False):
                features = inception_features(self.inception, output)
                distance = self.lpips(output, image)
            return (
                features.cpu(),
                self.photo_features(image).float().cpu(),
                distance.cpu(),
                torch.cat([image, output]).cpu(),
            )

        output_features, photo_features, distances = [], [], []
        shown: list[Tensor] = []
        for found in each(photos, score):
            output_features.append(found[0])
            photo_features.append(found[1])
            distances.append(float(found[2]))
            if len(shown) < 8:
                shown.append(found[3])
        features = (fid_features(torch.cat(f)) for f in (output_features, photo_features))
        values = {"lpips": math.fsum(distances) / len(distances), "right": retrieval_accuracy(*features)}
        return values, torch.cat(shown)

    def notes(self) -> dict[str, Any]:
        """Return the stage, the VAE's scaling, and the shapes of the quantizer and the decoder."""
        assert self.recipe.vae
        notes = super().notes()
        config = notes["config"] | {"unclip": asdict(self.decoder_shape)}
        return notes | {"scaling": self.recipe.vae.scaling, "config": config}


class DecoderLearner(DiffusionLearner):
    """The learner of stage 2: the diffusion decoder."""

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.exported_parts = self.decoder_parts
        if self.unclip.predictor is not None:
            nn.init.zeros_(self.unclip.predictor.weight)  # zeros mean that the predictor is not fitted yet

    def remembered(self) -> dict[str, Tensor]:
        """As `SeedTokLearner.remembered`, with the fitted predictor, which is no learned parameter."""
        tensors = super().remembered()
        predictor = self.unclip.predictor
        if predictor is not None:
            tensors |= {"weight": predictor.weight.detach(), "bias": predictor.bias.detach()}
        return tensors

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher and then the decoder's predictor, unless they are fitted already."""
        super().fit_teachers()
        predictor = self.unclip.predictor
        if predictor is not None and not predictor.weight.any():
            self.fit_predictor(predictor)

    def fit_predictor(self, predictor: nn.Linear) -> None:
        """Fit the decoder's predictor to latents of training photographs, by ridge regression on their embeddings."""
        embeds_of_images, latents_of_images = [], []
        for image in self.training_squares(self.recipe.fit):
            embeds_of_images.append(self.targets(image))
            latents_of_images.append(self.latents(image, None))
        embeds, latents = torch.cat(embeds_of_images), torch.cat(latents_of_images)
        targets = F.adaptive_avg_pool2d(latents, self.unclip.config.predictor).flatten(1)
        predictor.bias.copy_(targets.mean(0))
        penalty = RIDGE * len(embeds) * torch.eye(embeds.shape[1], device=embeds.device)
        normal_matrix = embeds.t() @ embeds + penalty
        predictor.weight.copy_(torch.linalg.solve(normal_matrix, embeds.t() @ (targets - predictor.bias)).t())

    def latents(self, images: Tensor, draw: Tensor | None) -> Tensor:
        """Return the scaled latents (B, C, h, w) of images (B, 3, S, S) in [-1, 1].

        Args:
            images: the images.
            draw: standard normal noise (B, C, h, w) by which the posterior is sampled; None for the posterior's mean.
        """
        if draw is None:
            draw = torch.zeros(())
        return drawn_latents(self.unclip.vae, self.moments(images), draw)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the diffusion loss."""
        self.fit_teachers()
        return self.diffusion_loss(images, seeds), {}

    def diffusion_loss(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the squared error of the velocity at a random timestep, given the teacher's embeddings."""
        unclip = self.unclip
        shape = unclip.latent_shape
        embeds = self.targets(images)
        latents = self.latents(images, noise(seeds, shape, "posterior").to(images)) - unclip.predicted(embeds)
        draw = noise(seeds, shape, "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        labels = unclip.class_labels(embeds, noise(seeds, embeds.shape[1:], "embedding").to(embeds))
        dropped = [happens(self.recipe.unconditional, seed, "unconditional") for seed in seeds.tolist()]
        labels = labels.masked_fill(torch.tensor(dropped, device=labels.device)[:, None], 0.0)
        a = alphas_cumprod(unclip.config.scheduler).to(latents)[t][:, None, None, None]
        noised = a.sqrt() * latents + (1 - a).sqrt() * draw
        prompt = unclip.prompt_embeds().expand(len(labels), -1, -1)
        predicted = unclip.unet(noised, t, prompt, class_labels=labels, return_dict=False)[0]
        return F.mse_loss(predicted.float(), a.sqrt() * draw - (1 - a).sqrt() * latents)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the images that are decoded from the teacher's embeddings of images (B, 3, S, S) in [-1, 1]."""
        return self.decode_embeds(self.targets(images), seeds, self.recipe.eval_steps).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the images that are decoded from the teacher's embeddings; see `evaluate_decoder`."""
        return self.evaluate_decoder(photos)


def alphas_cumprod(scheduler: Mapping[str, Any]) -> Tensor:
    """Return the signal's share of the variance at the 1000 training timesteps of a scheduler with these arguments."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(**scheduler).alphas_cumprod
