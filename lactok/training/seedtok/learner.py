"""What SeedTok's stages share: the quantizer, the teacher of embeddings, and the networks that compare images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok import weights
from lactok.nn.inception import inception
from lactok.nn.inception_checkpoint import INCEPTION
from lactok.nn.inception_encoder import InceptionEncoder
from lactok.nn.lpips import LPIPS
from lactok.nn.seed import EvaViT, SeedQuantizer, clip_normalise
from lactok.training.codebook import CodebookLearner
from lactok.training.data import Photo, Photos, load_squares
from lactok.training.distributed import each
from lactok.training.feature_cache import FeatureCache
from lactok.training.pretrained import load_parts, lpips_network
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import Teacher, inception_features, teacher_features

# the submodule of the published Inception network, which is frozen and not exported, as it is an asset of its own
PRETRAINED = "model.visual_encoder.features"


def initialise(model: SeedQuantizer) -> None:
    """Initialise the parameters that the class leaves at zero: query tokens, positional embeddings and class token.

    A visual encoder that is Inception gets its published weights.
    """
    parameters = [model.query_tokens, model.pos_embed, model.pos_embed_image]
    if isinstance(model.visual_encoder, EvaViT):
        parameters += [model.visual_encoder.cls_token, model.visual_encoder.pos_embed]
    else:
        weights.load_strict(model.visual_encoder.features, weights.load(INCEPTION), "the visual encoder")
    for parameter in parameters:
        nn.init.trunc_normal_(parameter, std=0.02)


class SeedTokLearner(CodebookLearner):
    """The quantizer and the teacher; the learner of a stage adds its own networks and its loss.

    Attributes:
        exported_parts: names of the submodules that the stage exports.
        photo_features: the `inception_features` of photographs.
        targets: the teacher's embeddings of photographs.
    """

    exported_parts: tuple[str, ...] = ()
    lpips: LPIPS

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__()
        self.recipe = recipe
        self.shape = recipe.quantizer_shape()
        torch.manual_seed(recipe.seed)
        self.model = SeedQuantizer(self.shape)
        initialise(self.model)
        self.teacher = Teacher(self.shape.features, recipe.shares)
        with torch.random.fork_rng(devices=[]):  # loading these must not change the initial weights of other networks
            self.lpips = lpips_network("alex")
            self.inception = copy.deepcopy(inception("cpu"))  # a copy, as the learner moves all its networks
        if recipe.stage > 1:
            load_parts(self, ("model", "teacher"), recipe.quantizer, "quantizer", keep=PRETRAINED)
        self.requires_grad_(False)
        keep = recipe.variants > 0
        self.photo_features = FeatureCache(partial(inception_features, self.inception), keep)
        self.targets = FeatureCache(self.teacher_embeds, keep)
        encoder = self.model.visual_encoder
        if isinstance(encoder, InceptionEncoder):
            encoder.frozen_features = FeatureCache(encoder.position_features, keep)

    def learn_quantizer(self) -> None:
        """Let the quantizer learn, except the published Inception network in it, and revive its dead codes."""
        self.model.requires_grad_(True)
        if self.shape.inception:
            self.get_submodule(PRETRAINED).requires_grad_(False)
        self.track_codebook(self.recipe, self.model.quantize, "model.quantize.embedding.weight")

    def train(self, mode: bool = True) -> SeedTokLearner:
        """Set the training mode; Inception and the visual encoder stay in eval mode."""
        super().train(mode)
        self.inception.eval()
        self.model.visual_encoder.eval()
        return self

    def remembered(self) -> dict[str, Tensor]:
        """As `CodebookLearner.remembered`, with what the teacher was fitted to."""
        return super().remembered() | {"mean": self.teacher.mean, "projection": self.teacher.projection}

    def training_squares(self, most: int) -> Iterator[Tensor]:
        """Yield the central squares (1, 3, S, S) of the first training photographs, at most so many."""
        for photo in Photos.of(self.recipe.data, self.recipe.held_out).train[:most]:
            yield load_squares([photo], self.recipe.crop).to(self.teacher.mean.device)

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher to training photographs and their mirror images, unless it is fitted already."""
        if self.teacher.fitted:
            return
        vectors = []
        for image in self.training_squares(self.recipe.fit):
            images = torch.cat([image, image.flip(-1)])
            vectors.append(teacher_features(self.lpips, self.photo_features(images), images))
        self.teacher.fit(torch.cat(vectors))
        if isinstance(self.model.visual_encoder, InceptionEncoder):
            self.teacher.initialise_projection(self.model.visual_encoder.proj)

    def teacher_embeds(self, images: Tensor) -> Tensor:
        """Return the teacher's embeddings (B, features) of images (B, 3, S, S) in [-1, 1]."""
        return self.teacher(teacher_features(self.lpips, self.photo_features(images), images))

    @torch.no_grad()
    def predict_embeds(self, images: Tensor) -> Tensor:
        """Return the embeddings (B, features) that the quantizer predicts from the ids of images (B, 3, S, S)."""
        return self.model.image_embeds(self.model.encode(clip_normalise(images / 2 + 0.5))).float()

    @property
    def bits(self) -> float:
        """The number of bits of an image's tokens."""
        return self.shape.queries * math.log2(self.shape.codebook_size)

    def evaluate_quantizer(self, photos: Sequence[Photo]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the predicted embeddings of photographs.

        Returns:
            The squared error, the share of images whose nearest teacher's embedding is their own, and the number of
            codes in use; and the images (N, 3, S, S) in [-1, 1], on the CPU.
        """

        def score(photo: Photo) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            image = load_squares([photo], self.recipe.crop).to(self.teacher.mean.device)
            ids = self.model.encode(clip_normalise(image / 2 + 0.5))
            predicted = self.model.image_embeds(ids).float()
            return self.targets(image).float().cpu(), ids.cpu(), predicted.cpu(), image.cpu()

        targets, ids, predicted, images = (torch.cat(column) for column in zip(*each(photos, score), strict=True))
        values = {
            "embedding": float(F.mse_loss(predicted, targets)),
            "embedding_right": retrieval_accuracy(predicted, targets),
            "codes_used": float(len(ids.unique())),
        }
        return values, images

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the exported parts, without the published Inception network."""
        prefixes = tuple(f"{part}." for part in self.exported_parts)
        tensors = {}
        for name, tensor in self.state_dict().items():
            if name.startswith(prefixes) and not name.startswith(f"{PRETRAINED}."):
                tensors[name] = tensor
        return tensors

    def notes(self) -> dict[str, Any]:
        """Return the stage and the shape of the quantizer."""
        return {"stage": self.recipe.stage, "config": {"model": asdict(self.shape)}}


def retrieval_accuracy(features: Tensor, references: Tensor) -> float:
    """Return the share of rows (N, C) whose nearest reference (N, C) is that of the same row, by cosine similarity."""
    nearest = (F.normalize(features, dim=1) @ F.normalize(references, dim=1).t()).argmax(1)
    return float((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean())
