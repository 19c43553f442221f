"""SeedTok's stage 3: the decoder, and the quantizer if wanted, learn from the pictures of a few steps of the sampler.

What Inception makes of a change differs from picture to picture, and a small decoder learns little from that at first.
So the stage begins with one fixed picture, the same for every embedding, around which the predictor learns what
Inception looks for; then regression and diffusion fade in.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, Photos
from lactok.training.pretrained import load_parts
from lactok.training.seedtok.decoder import PaintingLearner
from lactok.training.seedtok.learner import seeds_of
from lactok.training.seedtok.quantizer import quantizer_loss
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import Content, inception_features


class JointLearner(PaintingLearner):
    """Stage 3.

    Attributes:
        content: what Inception sees of the training photographs.
        regression: the predictor's weight of stage 2, which fades in.
    """

    regression: Tensor

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.parts = ("model", *self.decoder_parts)
        self.content = Content(len(Photos.of(recipe.data, recipe.held_out).train[: recipe.fit]))
        load_parts(self, self.decoder_parts, recipe.decoder, "decoder")
        if (predictor := self.unclip.predictor) is not None:
            predictor.requires_grad_(True)
            self.register_buffer("regression", recipe.regression * predictor.weight.detach(), persistent=False)
            predictor.weight.data.copy_(recipe.visible(0) * self.regression)
        if recipe.joint:
            self.learn_quantizer()
            assert self.revival is not None
            self.revival.last_used.zero_()  # the codes are trained ones, in use until they prove dead

    def remembered(self) -> dict[str, Tensor]:
        return super().remembered() | {"content": self.content.mean, "photographs": self.content.photographs}

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher and the judge of content, then settle the fixed picture, the first time."""
        super().fit_teachers()
        if self.content.fitted:
            return
        self.content.fit(torch.cat([self.meant(image) for image in self.squares(self.recipe.fit)]))
        if self.recipe.plain and (predictor := self.unclip.predictor) is not None:
            self.settle(predictor)

    @torch.enable_grad()
    def settle(self, predictor: nn.Linear) -> None:
        """Move the predictor's bias, a picture of its own, to where Inception sees the mean of the photographs."""
        steps, rate = self.recipe.settle, 0.05
        bias = predictor.bias.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([bias], lr=rate)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            picture = self.unclip.decode_latents(self.unclip.grid(bias[None])) * 2 - 1
            loss = self.content.far(inception_features(self.inception, picture[self.window(torch.tensor([step]))]))
            (bias.grad,) = torch.autograd.grad(loss, bias)
            optimizer.step()
        predictor.bias.data.copy_(bias.detach())

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.fit_teachers()
        parts: dict[str, Tensor]
        if self.recipe.joint:
            embeds, loss, parts = quantizer_loss(self, images, seeds, step)
        else:
            embeds, loss, parts = self.predicted(images), torch.zeros((), device=images.device), {}
        visible = self.recipe.visible(step)
        pictures = self.picture_losses(images, seeds, embeds, visible)
        shares = {"lpips": visible, "colour": visible}
        loss = loss + sum(getattr(self.recipe, k) * shares.get(k, 1.0) * v for k, v in pictures.items())
        return loss, parts | pictures

    def picture_losses(self, images: Tensor, seeds: Tensor, embeds: Tensor, visible: float = 1) -> dict[str, Tensor]:
        """Losses of what a few steps of the sampler make of predicted embeddings, by the names of their weights.

        Args:
            images: the photographs (B, 3, S, S) in [-1, 1].
            embeds: (B, features).
            visible: how much of the diffusion shows, 0 to 1.
        """
        recipe = self.recipe
        embeds = embeds + recipe.jitter * noise(seeds, embeds.shape[1:], "jitter").to(embeds)
        output = self.painted(embeds, seeds, recipe.few_steps, visible=visible).float()
        shown, meant = inception_features(self.inception, output[self.window(seeds)]), self.meant(images)
        *texture, contents = self.content.unlike(shown, meant)
        return {
            "lpips": self.lpips(output, images).mean() if recipe.lpips else torch.zeros(()),
            "colour": F.l1_loss(F.avg_pool2d(output, 8), F.avg_pool2d(images, 8)),
            "texture": torch.stack(texture).mean(),
            "content": contents,
            "contrast": self.content.contrast(shown, meant, recipe.temperature),
        }

    def window(self, seeds: Tensor) -> tuple[Any, ...]:
        """Where Inception looks in this step, 7/8 to all of the side: what it finds must not hang on exact pixels."""
        size = self.recipe.crop
        side = size - seed_of(int(seeds[0]), "side") % (size // 8 + 1)
        top, left = (seed_of(int(seeds[0]), name) % (size - side + 1) for name in ("top", "left"))
        return ..., slice(top, top + side), slice(left, left + side)

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Let more of the regression become visible, then revive dead codes."""
        if (predictor := self.unclip.predictor) is not None:
            predictor.weight.add_(self.regression, alpha=self.recipe.visible(step + 1) - self.recipe.visible(step))
        return super().after_step(step)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Figures of the embeddings and of the pictures."""
        images = self.central_squares(photos)
        values, pictures = self.picture_figures(images, seeds_of(photos))
        return self.quantizer_figures(images) | values, pictures
