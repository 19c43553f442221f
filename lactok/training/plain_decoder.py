"""Train a plain decoder of a frozen VQ tokenizer's ids, the control of LaCTok's stage 2.

Its ids, its loss and its images are those of stage 2. What it lacks is the pretrained diffusion model, so that the
difference between both says what the diffusion prior is worth.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lactok.config import Side
from lactok.errors import UserError
from lactok.nn.lactok import resize
from lactok.nn.plain_decoder import FROZEN, PlainDecoder, PlainDecoderShape
from lactok.nn.vqgan import VQConfig
from lactok.training.data import Photo
from lactok.training.feature_cache import FeatureCache
from lactok.training.held_out import quality
from lactok.training.learner import Learner
from lactok.training.pixel_loss import DecodedRecipe
from lactok.training.pretrained import load_parts, lpips_network, shape_of


@dataclass(frozen=True, kw_only=True)
class PlainDecoderRecipe(DecodedRecipe):
    """A recipe for a plain decoder.

    Attributes:
        model: shape of the decoder.
        encoder_weights: weights of the VQ tokenizer whose encoder and codebook are used; they state their shape.
        tokenizer_size: side in pixels at which the encoder sees an image.
    """

    model: PlainDecoderShape
    encoder_weights: str
    tokenizer_size: Side = 256


class PlainDecoderLearner(Learner):
    """The network, of which the decoder learns, and LPIPS.

    Attributes:
        ids: the encoder's ids of images (B, 3, S, S) in [-1, 1].
    """

    def __init__(self, recipe: PlainDecoderRecipe):
        super().__init__()
        self.recipe = recipe
        self.encoder_shape = shape_of(recipe.encoder_weights, "model", VQConfig, "encoder_weights")
        codes = recipe.tokenizer_size // self.encoder_shape.downsampling
        if recipe.tokenizer_size % self.encoder_shape.downsampling or codes * self.side_of_a_code != recipe.crop:
            raise UserError(
                f"crop = {recipe.crop}: the decoder makes {self.side_of_a_code} pixels of an id, and tokenizer_size = "
                f"{recipe.tokenizer_size} gives {codes} ids along a side"
            )
        torch.manual_seed(recipe.seed)
        self.model = PlainDecoder(self.encoder_shape, recipe.model)
        load_parts(self.model, FROZEN, recipe.encoder_weights, "encoder_weights")
        for name in FROZEN:
            self.model.get_submodule(name).requires_grad_(False)
        self.ids = FeatureCache(self._encode, recipe.variants > 0)
        self.lpips = lpips_network(recipe.lpips_net)

    @property
    def side_of_a_code(self) -> int:
        """Side in pixels of the square that the decoder makes of an id."""
        return self.recipe.model.config().downsampling

    def _encode(self, images: Tensor) -> Tensor:
        return self.model.encode(resize(images, self.recipe.tokenizer_size))

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of decoded images and its parts."""
        return self.recipe.decoded_loss(self.lpips, self.model.decode(self.ids(images)), images)

    @property
    def bits(self) -> float:
        """The number of bits of an image's tokens."""
        shape = self.encoder_shape
        return (self.recipe.tokenizer_size // shape.downsampling) ** 2 * math.log2(shape.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return reconstructions of images (B, 3, S, S) in [-1, 1]; the seeds are not used."""
        return self.model.decode(self.ids(images)).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR and LPIPS, and reconstructions beside their photographs."""
        return quality(photos, self.recipe.crop, self.reconstruct, self.lpips)

    def notes(self) -> dict[str, Any]:
        """Return the shape of the decoder."""
        return {"config": {"model": asdict(self.recipe.model)}}

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the decoder, since encoder and codebook are the tokenizer's."""
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith(tuple(f"{n}." for n in FROZEN))}
