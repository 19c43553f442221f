"""The shape of a small model stands once: a recipe states it, the weights carry it, everything else reads it there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from baselines.lactok import TINY
from lactok import config, registry
from lactok.errors import UserError
from lactok.nn.flextok import FlexTokConfig
from lactok.nn.titok import TiTokConfig
from lactok.nn.vqgan import VQConfig
from lactok.training import checkpoint, tiny
from lactok.training.accelerate import AccelerateLearner, AccelerateRecipe
from lactok.training.flextok import FlexTokRecipe
from lactok.training.lactok import LaCTokLearner, LaCTokRecipe, shape
from lactok.training.ldm import LDMLearner, LDMRecipe, VAEPart
from lactok.training.recipe import Recipe
from lactok.training.run import recipe_kind
from lactok.training.vae import VAELearner, VAERecipe
from lactok.weights import metadata
from lactok.weights.metadata import BUNDLED, bundled_shape, notes

SHAPES = {"model", "unet", "unclip", "encoder"}
ODD = {"meta": '{"config": {"model": {"chanels": 1}}}'}


def recipe_of(trained: str, name: str) -> Recipe:
    """A shipped recipe of the small model `trained`, with the package's weights in place of earlier stages'."""
    for stage in tiny.stages(trained):
        if stage.values["name"] == name:
            values = {k: _bundled(v) for k, v in stage.values.items()}
            return config.build(recipe_kind(stage.trainer), values, stage.where)
    raise AssertionError(name)


def _bundled(value: object) -> object:
    if isinstance(value, dict):
        return {k: _bundled(v) for k, v in value.items()}
    if str(value).startswith("training-runs/"):
        name = Path(value).stem  # that of an earlier stage has its number behind it
        return name if (BUNDLED / f"{name}.safetensors").is_file() else name.rpartition("-")[0]
    return value


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("llamagen-vq16-tiny", "model"),
        ("llamagen-vq4-tiny", "model"),
        ("vae-tiny", "model"),
        ("ldm-tiny", "unet"),
        ("plain-decoder-tiny", "model"),
    ],
)
def test_the_weights_carry_the_recipe_s_shape(name: str, part: str) -> None:
    first = f"{name}-1" if name == "llamagen-vq16-tiny" else name  # the first training states the shape
    recipe = recipe_of("lactok-h-tiny" if name == "ldm-tiny" else name, first)
    stated = getattr(recipe, part)
    assert bundled_shape(name, part, type(stated)) == stated


def test_titok_and_flextok_carry_their_recipes_shapes() -> None:
    proxy = recipe_of("titok-s128-tiny", "titok-proxy-tiny")
    first = recipe_of("titok-s128-tiny", "titok-s128-tiny-1")
    assert bundled_shape("titok-s128-tiny", "model", TiTokConfig) == replace(first.model, pixel=proxy.model)  # type: ignore[attr-defined]
    recipe = recipe_of("flextok-tiny", "flextok-tiny")
    assert isinstance(recipe, FlexTokRecipe)
    assert bundled_shape("flextok-tiny", "model", FlexTokConfig) == recipe.model.config(recipe.vae, recipe.crop)


@pytest.mark.parametrize("name", ["vq-ladd-tiny", "lactok-h-tiny", "lactok-t-tiny"])
def test_lactok_s_shape_comes_from_the_weights_that_it_takes(name: str) -> None:
    recipe = recipe_of("lactok-t-tiny" if name == "lactok-t-tiny" else "lactok-h-tiny", name)
    assert isinstance(recipe, LaCTokRecipe)
    assert (recipe.encoder, recipe.unet, recipe.vae.shape) == (None, None, None)
    assert shape(recipe, recipe.copy or recipe.start) == TINY
    assert bundled_shape(name, "embedding", tuple[int, ...]) == TINY.decoder.embedding


def test_no_recipe_states_what_its_weights_say() -> None:
    """A shape stands in the recipe of the first training of a network, and in no later one."""
    stated: dict[str, str] = {}
    for name in tiny.names():
        for stage in tiny.stages(name):
            for part in SHAPES & stage.values.keys():
                shape = str(sorted(stage.values[part].items()))
                assert stated.setdefault(shape, stage.values["name"]) == stage.values["name"]
            assert "shape" not in stage.values.get("vae", {})


NETWORKS = sorted(path for path in BUNDLED.glob("*.safetensors") if not path.stem.endswith("-words"))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda p: p.stem)
def test_every_shipped_file_says_its_shape(path: Path) -> None:
    found = notes(path)
    assert found["name"] == path.stem
    assert found["config"]


def test_the_shape_of_shipped_weights_is_the_tokenizer_s() -> None:
    for name in ("llamagen-vq16-tiny", "titok-s128-tiny"):
        spec, tokenizer = registry.tokenizer_spec(name), registry.build(name, device="meta")
        model = notes(BUNDLED / f"{name}.safetensors")["config"]["model"]
        assert spec.codebook_size == model["codebook_size"] == tokenizer.model.config.codebook_size


def test_trainings_pass_their_shapes_on(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    """What a training exports is all that the next one needs to know of its network."""

    def export(learner: VAELearner | LDMLearner | LaCTokLearner, name: str) -> str:
        path = tmp_path / f"{name}.safetensors"
        checkpoint.save_state(path, learner.exported(), learner.notes() | {"scaling": 0.5})
        return str(path)

    vae, ldm, first = recipes["vae"], recipes["ldm"], recipes["stage 1"]
    fast, second = recipes["hyper-sd"], recipes["stage 2"]
    assert isinstance(vae, VAERecipe)
    assert isinstance(ldm, LDMRecipe)
    assert isinstance(fast, AccelerateRecipe)
    assert isinstance(first, LaCTokRecipe)
    assert isinstance(second, LaCTokRecipe)
    part = VAEPart(weights=export(VAELearner(vae), "new-vae"), scaling=0.5)
    assert part.known_shape() == vae.model
    unet = export(LDMLearner(replace(ldm, vae=part)), "new-unet")
    student = AccelerateLearner(replace(fast, vae=part, unet=None, unet_weights=unet))
    assert student.model.recipe.unet == ldm.unet
    learner = LaCTokLearner(replace(first, vae=part, unet=None, unet_weights=unet))
    copy = export(learner, "new-copy")
    later = replace(second, vae=part, unet=None, unet_weights=unet, embedding=None, copy=copy)
    assert shape(later, copy) == learner.model.config


def test_a_file_without_a_shape_is_named(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match=r"mine.safetensors does not say the shape of its network; state it"):
        metadata.shape(tmp_path / "mine.safetensors", "model", VQConfig)
    assert metadata.shape(tmp_path / "mine.safetensors", "model", VQConfig, VQConfig()) == VQConfig()
    save_file({"weight": torch.zeros(1)}, tmp_path / "odd.safetensors", ODD)
    with pytest.raises(UserError, match=r"odd.safetensors \[model\] 'chanels', did you mean 'channels'"):
        metadata.shape(tmp_path / "odd.safetensors", "model", VQConfig)
