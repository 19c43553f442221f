"""SeedTok's stage 1: the quantizer learns to predict the teacher's embedding through its ids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.inception_encoder import InceptionEncoder
from lactok.nn.seed import clip_normalise
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo
from lactok.training.seedtok.learner import SeedTokLearner
from lactok.training.seedtok.recipe import SeedTokRecipe

MIXED = 4  # pictures in a mixture


class QuantizerLearner(SeedTokLearner):
    """Stage 1."""

    parts = ("model", "teacher")

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.learn_quantizer()

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.fit_teachers()
        _, loss, parts = quantizer_loss(self, images, seeds, step)
        return loss, parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Figures of the embeddings, and the photographs themselves, as there is no decoder yet."""
        images = self.central_squares(photos)
        return self.quantizer_figures(images), images[:8]


def quantizer_loss(
    learner: SeedTokLearner, images: Tensor, seeds: Tensor, step: int
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The loss of predicted embeddings.

    Args:
        images: (B, 3, S, S) in [-1, 1].
        seeds: (B,), of the mixtures.

    Returns:
        The predicted embeddings (B, features), the loss and its parts by name.
    """
    recipe, model, target = learner.recipe, learner.model, learner.embeds(images)
    normal = clip_normalise(images / 2 + 0.5)
    if recipe.mixup and isinstance(encoder := model.visual_encoder, InceptionEncoder):
        mixing = mixed(seeds, recipe.mixup).to(target)
        target, places = mixing @ target, torch.einsum("ij,jpc->ipc", mixing, encoder.frozen_features(normal))
        queries = model.causal_embeddings_from_tokens(encoder.project(places))
    else:
        queries = model.causal_embeddings(normal)
    z = model.encode_task_layer(queries).transpose(1, 2)[:, :, None]  # (B, code_dim, 1, queries)
    quantized, parts = learner.quantized(z, step)
    codes = quantized[:, :, 0].transpose(1, 2)
    predicted = model.image_embeds_from_codes(codes).float()
    parts["embedding"] = F.mse_loss(predicted, target)
    parts["cosine"] = unlikeness(predicted, target)
    parts["rebuild"] = unlikeness(model.reconstruct_causal_embeddings(codes), queries.detach())
    weights = {name: getattr(recipe, name) for name in ("embedding", "cosine", "rebuild", "codebook")}
    return predicted, sum((w * parts[k] for k, w in weights.items()), torch.zeros(())), parts


def mixed(seeds: Tensor, share: float) -> Tensor:
    """Weights (B, B) of a batch's images in its mixtures; rows sum to 1, and some are an image alone.

    Args:
        seeds: (B,).
        share: of the rows that are mixtures.
    """
    count = len(seeds)
    weights = noise(seeds, (count,), "mixture")
    few = noise(seeds, (count,), "members").argsort(1) < MIXED
    weights = F.normalize(weights * few, dim=1)
    alone = torch.tensor([seed_of(s, "mixup") % 1000 >= 1000 * share for s in seeds.tolist()])
    return torch.where(alone[:, None], torch.eye(count), weights + (1 - weights.sum(1, keepdim=True)) / count)


def unlikeness(first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine similarity along the last dimension, a mean over the others."""
    return 1 - F.cosine_similarity(first.float(), second.float(), dim=-1).mean()
