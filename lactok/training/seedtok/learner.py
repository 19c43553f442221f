"""What SeedTok's stages share: the quantizer, the teacher of embeddings, and the judges of pictures."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
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
from lactok.nn.lpips import LPIPS, load_lpips
from lactok.nn.seed import EvaViT, SeedQuantizer, clip_normalise
from lactok.randomness import seed_of
from lactok.training.codebook import CodebookLearner
from lactok.training.data import Photo, Photos, centre_square, to_tensor
from lactok.training.feature_cache import Frozen
from lactok.training.pretrained import load_parts
from lactok.training.seedtok.recipe import SeedTokRecipe
from lactok.training.teacher import Teacher, described, inception_features

PRETRAINED = "model.visual_encoder.features"  # Inception's weights: frozen, an asset of their own, in no export


def initialise(model: SeedQuantizer) -> None:
    """Fill what the published file brings and the class leaves at zero: queries, positions, the class token."""
    parameters = [model.query_tokens, model.pos_embed, model.pos_embed_image]
    if isinstance(model.visual_encoder, EvaViT):
        parameters += [model.visual_encoder.cls_token, model.visual_encoder.pos_embed]
    else:
        weights.load_strict(model.visual_encoder.features, weights.load(INCEPTION), "the visual encoder")
    for parameter in parameters:
        nn.init.trunc_normal_(parameter, std=0.02)


class SeedTokLearner(CodebookLearner):
    """The quantizer and the teacher; a stage adds its own networks and its loss.

    Attributes:
        parts: submodules that the stage exports.
    """

    parts: tuple[str, ...] = ()
    lpips: LPIPS

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__()
        self.recipe = recipe
        self.shape = recipe.quantizer_shape()
        torch.manual_seed(recipe.seed)
        self.model = SeedQuantizer(self.shape)
        initialise(self.model)
        self.teacher = Teacher(self.shape.features)
        with torch.random.fork_rng(devices=[]):  # what is only loaded must not move the start of other networks
            # copies, so that they are moved to a device with the rest
            self.lpips, self.inception = copy.deepcopy(load_lpips("alex", "cpu")), copy.deepcopy(inception("cpu"))
        if recipe.stage > 1:
            load_parts(self, ("model", "teacher"), recipe.quantizer, "quantizer", keep=PRETRAINED)
        self.requires_grad_(False)
        keep = recipe.variants > 0
        self.meant = Frozen(partial(inception_features, self.inception), keep)
        self.embeds = Frozen(self.embed, keep)
        if isinstance(encoder := self.model.visual_encoder, InceptionEncoder):
            encoder.frozen_features = Frozen(encoder.position_features, keep)

    def learn_quantizer(self) -> None:
        """Let the quantizer learn, all but the published Inception in it, and look after its codes."""
        self.model.requires_grad_(True)
        if self.shape.inception:
            self.get_submodule(PRETRAINED).requires_grad_(False)
        self.watch(self.recipe, self.model.quantize, "model.quantize.embedding.weight")

    def train(self, mode: bool = True) -> SeedTokLearner:
        super().train(mode)
        self.inception.eval()
        self.model.visual_encoder.eval()
        return self

    def remembered(self) -> dict[str, Tensor]:
        return super().remembered() | {"mean": self.teacher.mean, "projection": self.teacher.projection}

    def squares(self, most: int) -> Iterator[Tensor]:
        """Central squares (1, 3, S, S) of the first training photographs."""
        for photo in Photos.of(self.recipe.data, self.recipe.held_out).train[:most]:
            yield to_tensor([centre_square(photo.open_rgb(), self.recipe.crop)]).to(self.teacher.mean.device)

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Fit the teacher of embeddings to training photographs and their mirror images, the first time."""
        if self.teacher.fitted:
            return
        both = (torch.cat([image, image.flip(-1)]) for image in self.squares(self.recipe.fit))
        self.teacher.fit(torch.cat([described(self.lpips, self.meant(images), images) for images in both]))
        if isinstance(self.model.visual_encoder, InceptionEncoder):
            self.teacher.start(self.model.visual_encoder.proj)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] -> the teacher's embeddings (B, features)."""
        return self.teacher(described(self.lpips, self.meant(images), images))

    @torch.no_grad()
    def predicted(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] -> the embeddings (B, features) of their ids."""
        return self.model.image_embeds(self.model.encode(clip_normalise(images / 2 + 0.5))).float()

    @property
    def bits(self) -> float:
        """Bits of an image."""
        return self.shape.queries * math.log2(self.shape.codebook_size)

    def central_squares(self, photos: tuple[Photo, ...]) -> Tensor:
        """Photographs -> (N, 3, S, S) in [-1, 1], on the networks' device."""
        squares = [to_tensor([centre_square(photo.open_rgb(), self.recipe.crop)]) for photo in photos]
        return torch.cat(squares).to(self.teacher.mean.device)

    def quantizer_figures(self, images: Tensor) -> dict[str, float]:
        """The error of predicted embeddings, the share whose nearest one is the right one, and the codes in use."""
        target = torch.cat([self.embeds(image) for image in images.split(1)])
        ids = self.model.encode(clip_normalise(images / 2 + 0.5))
        predicted = self.model.image_embeds(ids)
        return {
            "embedding": float(F.mse_loss(predicted, target)),
            "embedding_right": share_right(predicted, target),
            "codes_used": float(len(ids.unique())),
        }

    def exported(self) -> dict[str, Tensor]:
        """The submodules of `parts`, without the published Inception."""
        state = {k: v for k, v in self.state_dict().items() if not k.startswith(f"{PRETRAINED}.")}
        return {k: v for k, v in state.items() if k.startswith(tuple(f"{part}." for part in self.parts))}

    def notes(self) -> dict[str, Any]:
        return {"stage": self.recipe.stage, "config": {"model": asdict(self.shape)}}


def share_right(found: Tensor, originals: Tensor) -> float:
    """The share of rows (N, C) whose nearest original (N, C), by cosine similarity, is the one of the same row."""
    nearest = (F.normalize(found, dim=1) @ F.normalize(originals, dim=1).t()).argmax(1)
    return float((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean())


def seeds_of(photos: tuple[Photo, ...]) -> Tensor:
    """Seeds (N,) by the names of held-out photographs."""
    return torch.tensor([seed_of("held out", photo.name) for photo in photos])
