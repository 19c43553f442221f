"""SeedTok's stage 3: the decoder, and the quantizer if the recipe says so, learn by losses of decoded images.

The images are decoded by a few steps of the sampler, and judged by the features of Inception or of AlexNet. How a
change of an image changes Inception's features differs from image to image, and a small decoder learns little from such
gradients at first. The stage can therefore start from one fixed image, the same for every embedding, to which the
predictor learns to add what the features need; then the predictor's regression and the diffusion fade in.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, Photos
from lactok.training.feature_cache import FeatureCache
from lactok.training.pretrained import load_parts
from lactok.training.seedtok.decoder import DiffusionLearner
from lactok.training.seedtok.quantizer import quantizer_loss
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import Content, alex_features, inception_features


class JointLearner(DiffusionLearner):
    """The learner of stage 3: the decoder, and the quantizer if the recipe says so.

    Attributes:
        content: compares the judge's features with those of the training photographs.
        judged: the judge's features of photographs.
        regression: the weight of the predictor that stage 2 fitted, times the recipe's `regression`; it fades in.
    """

    regression: Tensor

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.exported_parts = ("model", *self.decoder_parts)
        self.content = Content(len(Photos.of(recipe.data, recipe.held_out).train[: recipe.fit]), recipe.judge)
        self.judged = self.photo_features
        if recipe.judge == "alex":
            self.judged = FeatureCache(self.judge, recipe.variants > 0)
        load_parts(self, self.decoder_parts, recipe.decoder, "decoder")
        predictor = self.unclip.predictor
        if predictor is not None:
            predictor.requires_grad_(True)
            self.register_buffer("regression", recipe.regression * predictor.weight.detach(), persistent=False)
            predictor.weight.data.copy_(recipe.visible(0) * self.regression)
        if recipe.joint:
            self.learn_quantizer()
            assert self.revival is not None
            self.revival.last_used.zero_()  # the codes are trained already; they count as used at step 0

    def judge(self, images: Tensor) -> Tensor:
        """Return the judge's features of images (B, 3, S, S), about in [-1, 1]; see `Content`."""
        if self.recipe.judge == "alex":
            return alex_features(self.lpips, images)
        return inception_features(self.inception, images)

    def remembered(self) -> dict[str, Tensor]:
        """As `SeedTokLearner.remembered`, with the features of the training photographs."""
        return super().remembered() | {"content": self.content.mean, "photographs": self.content.photographs}

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher, store the photographs' features and fit the fixed image, unless that is done already."""
        super().fit_teachers()
        if self.content.fitted:
            return
        squares = self.training_squares(self.recipe.fit)
        self.content.fit(torch.cat([self.judged(image) for image in squares]))
        if self.recipe.plain and self.unclip.predictor is not None:
            self.fit_fixed_image(self.unclip.predictor)

    @torch.enable_grad()
    def fit_fixed_image(self, predictor: nn.Linear) -> None:
        """Fit the fixed image, which is decoded from the predictor's bias, to the mean of the judge's features."""
        steps, rate = self.recipe.settle, 0.05
        bias = predictor.bias.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([bias], lr=rate)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            image = self.unclip.decode_latents(self.unclip.grid(bias[None])) * 2 - 1
            window = self.random_window(torch.tensor([step]))
            loss = self.content.distance_to_mean(self.judge(image[window]))
            (bias.grad,) = torch.autograd.grad(loss, bias)
            optimizer.step()
        predictor.bias.data.copy_(bias.detach())

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted losses of decoded images and, if it learns, of the quantizer; and all parts."""
        self.fit_teachers()
        parts: dict[str, Tensor]
        if self.recipe.joint:
            embeds, loss, parts = quantizer_loss(self, images, seeds, step)
        else:
            embeds, loss, parts = self.predict_embeds(images), torch.zeros((), device=images.device), {}
        visible = self.recipe.visible(step)
        image_parts = self.image_losses(images, seeds, embeds, visible)
        weighted = []
        for name, value in image_parts.items():
            weight = getattr(self.recipe, name)
            if name in ("lpips", "colour"):  # the losses of pixels fade in together with the diffusion
                weight *= visible
            weighted.append(weight * value)
        return loss + sum(weighted), parts | image_parts

    def image_losses(self, images: Tensor, seeds: Tensor, embeds: Tensor, visible: float = 1) -> dict[str, Tensor]:
        """Return the losses of images decoded by a few sampler steps, by the names of their weights in the recipe.

        Args:
            images: the photographs (B, 3, S, S) in [-1, 1].
            seeds: seeds of the noise (B,).
            embeds: the embeddings (B, features) to decode.
            visible: share to which the diffusion has faded in, 0 to 1.
        """
        recipe = self.recipe
        embeds = embeds + recipe.jitter * noise(seeds, embeds.shape[1:], "jitter").to(embeds)
        output = self.decode_embeds(embeds, seeds, recipe.few_steps, visible=visible).float()
        output_features = self.judge(output[self.random_window(seeds)])
        photo_features = self.judged(images)
        *texture, content = self.content.distances(output_features, photo_features)
        return {
            "lpips": self.lpips(output, images).mean() if recipe.lpips else torch.zeros(()),
            "colour": F.l1_loss(F.avg_pool2d(output, 8), F.avg_pool2d(images, 8)),
            "texture": torch.stack(texture).mean(),
            "content": content,
            "contrast": self.content.contrast(output_features, photo_features, recipe.temperature),
        }

    def random_window(self, seeds: Tensor) -> tuple[Any, ...]:
        """Return the index of the part of the images that the judge sees in this step, 7/8 to all of the side.

        It is random so that its features cannot be matched by a pattern at exact pixels. The first of the seeds
        (B,) decides.
        """
        size, seed = self.recipe.crop, int(seeds[0])
        side = size - seed_of(seed, "side") % (size // 8 + 1)
        top = seed_of(seed, "top") % (size - side + 1)
        left = seed_of(seed, "left") % (size - side + 1)
        return ..., slice(top, top + side), slice(left, left + side)

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Add the next share of the regression to the predictor, then revive dead codes."""
        predictor = self.unclip.predictor
        if predictor is not None:
            predictor.weight.add_(self.regression, alpha=self.recipe.visible(step + 1) - self.recipe.visible(step))
        return super().after_step(step)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the predicted embeddings and the reconstructions."""
        of_quantizer, _ = self.evaluate_quantizer(photos)
        values, shown = self.evaluate_decoder(photos)
        return of_quantizer | values, shown
