"""The plain decoder's trainer, and encoders that see smaller images, as in LaCTok's proportions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recipes import LEARNERS, VQ

from lactok.errors import UserError
from lactok.nn.lactok import resize
from lactok.training.lactok import LaCTokLearner, LaCTokRecipe
from lactok.training.plain_decoder import PlainDecoderLearner, PlainDecoderRecipe
from lactok.training.recipe import Recipe
from lactok.training.vq import VQLearner, VQRecipe

pytestmark = pytest.mark.slow  # trainings


def test_ids_are_those_that_lactok_decodes(recipes: dict[str, Recipe]) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain, stage_2 = recipes["plain"], recipes["stage 2"]
    assert isinstance(plain, PlainDecoderRecipe)
    assert isinstance(stage_2, LaCTokRecipe)
    decoder = replace(plain.model, channel_mult=(1, 1, 1, 1, 1, 1))
    one = PlainDecoderLearner(replace(plain, model=decoder, crop=64, scale=(64, 64)))
    other = LaCTokLearner(replace(stage_2, encoder_sizes=(32,), tokenizer_size=32, crop=64, scale=(64, 64)))
    assert torch.equal(one.ids(images), other.ids[32](images))
    assert one.reconstruct(images, torch.tensor([0, 1])).shape == images.shape
    assert one.bits == other.bits == 4 * 6


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("plain", {"tokenizer_size": 48}, "crop = 32: the decoder makes 16 pixels of an id"),
        ("plain", {"tokenizer_size": 40}, "crop = 32: the decoder makes 16 pixels of an id"),
        ("stage 1", {"encoder_sizes": (32, 40)}, "multiples of 16, the pixels of an id along a side"),
        ("stage 1", {"tokenizer_size": 250}, "multiples of 16, the pixels of an id along a side"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    recipes: dict[str, Recipe], kind: str, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        LEARNERS[kind](replace(recipes[kind], **changed))  # type: ignore[arg-type, call-arg]


def test_a_vq_encoder_may_see_images_made_smaller(recipes: dict[str, Recipe]) -> None:
    keys = {"data": recipes["plain"].data, "steps": 4, "batch": 2, "scale": (64, 64), "name": "vq"}
    recipe = VQRecipe(model=VQ, crop=64, eval_size=64, reduced=2, **keys)  # type: ignore[arg-type]
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(recipe.reduce(images), resize(images, 32))
    with pytest.raises(UserError, match="crop must be a multiple of 32"):
        replace(recipe, crop=48)
    assert VQLearner(recipe).model.encode(recipe.reduce(images)).shape == (2, 2, 2)
