"""SeedTok's stage 1: the quantizer learns to predict the teacher's embedding from its ids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.inception_encoder import InceptionEncoder
from lactok.nn.seed import clip_normalise
from lactok.randomness import noise
from lactok.training.data import Photo
from lactok.training.numerics import happens
from lactok.training.seedtok.learner import SeedTokLearner
from lactok.training.seedtok.recipe import SeedTokRecipe

MIXTURE_SIZE = 4  # images in a mixture


class QuantizerLearner(SeedTokLearner):
    """The learner of stage 1: the quantizer."""

    exported_parts = ("model", "teacher")

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__(recipe)
        self.learn_quantizer()

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the quantizer's loss and its parts."""
        self.fit_teachers()
        _, loss, parts = quantizer_loss(self, images, seeds, step)
        return loss, parts

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the embeddings; the images are eight of the photographs, as there is no decoder yet."""
        values, images = self.evaluate_quantizer(photos)
        return values, images[:8]


def quantizer_loss(
    learner: SeedTokLearner, images: Tensor, seeds: Tensor, step: int
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Compute the loss of the predicted embeddings.

    Args:
        learner: the learner of stage 1 or 3.
        images: (B, 3, S, S) in [-1, 1].
        seeds: seeds of the mixtures (B,).
        step: number of steps before this one.

    Returns:
        The predicted embeddings (B, features), the loss, and its parts by name.
    """
    recipe, model, target = learner.recipe, learner.model, learner.targets(images)
    normalised = clip_normalise(images / 2 + 0.5)
    encoder = model.visual_encoder
    if recipe.mixup and isinstance(encoder, InceptionEncoder):
        weights = mixture_weights(seeds, recipe.mixup).to(target)
        target = weights @ target
        features = torch.einsum("ij,jpc->ipc", weights, encoder.frozen_features(normalised))
        queries = model.causal_embeddings_from_tokens(encoder.project(features))
    else:
        queries = model.causal_embeddings(normalised)
    z = model.encode_task_layer(queries).transpose(1, 2)[:, :, None]  # (B, code_dim, 1, queries)
    quantized, parts = learner.quantize(z, step)
    codes = quantized[:, :, 0].transpose(1, 2)  # (B, queries, code_dim)
    predicted = model.image_embeds_from_codes(codes).float()
    parts["embedding"] = F.mse_loss(predicted, target)
    parts["cosine"] = cosine_distance(predicted, target)
    parts["rebuild"] = cosine_distance(model.reconstruct_causal_embeddings(codes), queries.detach())
    loss = torch.zeros(())
    for name in ("embedding", "cosine", "rebuild", "codebook"):
        loss = loss + getattr(recipe, name) * parts[name]
    return predicted, loss, parts


def mixture_weights(seeds: Tensor, share: float) -> Tensor:
    """Return the weights (B, B) of a batch's images in its mixtures.

    Each row is one mixture, and its sum is 1. A row that is not to be a mixture has a single 1, at its own image.

    Args:
        seeds: seeds of the rows (B,).
        share: share of the rows that are mixtures.
    """
    count = len(seeds)
    weights = noise(seeds, (count,), "mixture")
    members = noise(seeds, (count,), "members").argsort(1) < MIXTURE_SIZE
    weights = F.normalize(weights * members, dim=1)
    unmixed = torch.tensor([not happens(share, seed, "mixup") for seed in seeds.tolist()])
    # the weights are those of deviations from the batch's mean, so the mean gets the rest
    mixtures = weights + (1 - weights.sum(1, keepdim=True)) / count
    return torch.where(unmixed[:, None], torch.eye(count), mixtures)


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return one minus the cosine similarity along the last dimension, averaged over the other dimensions."""
    return 1 - F.cosine_similarity(first.float(), second.float(), dim=-1).mean()
