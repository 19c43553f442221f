"""The trainers of VAE and diffusion model where they go on from given weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lactok.errors import UserError
from lactok.training import run
from lactok.training.ldm import LDMLearner, LDMRecipe
from lactok.training.recipe import Recipe
from lactok.training.vae import VAELearner, VAERecipe
from lactok.weights.metadata import notes

pytestmark = pytest.mark.slow  # trainings


@pytest.mark.parametrize("decoder_only", [True, False])
def test_a_training_goes_on_from_a_vae(recipes: dict[str, Recipe], tmp_path: Path, decoder_only: bool) -> None:
    first = recipes["vae"]
    assert isinstance(first, VAERecipe)
    run.train("vae", first, tmp_path / "first", "cpu")
    begun = tmp_path / "first" / "vae.safetensors"
    # other pictures have latents of another deviation, and the networks that work in them keep the scaling they know
    later = replace(
        first, model=None, start=str(begun), decoder_only=decoder_only, lab=1.0, seed=first.seed + 1, held_out=1
    )
    run.train("vae", later, tmp_path / "later", "cpu")
    ended = tmp_path / "later" / "vae.safetensors"
    before, after = load_file(begun), load_file(ended)
    kernels = {name for name, tensor in before.items() if tensor.ndim == 4}
    same = {name for name in kernels if before[name].equal(after[name])}
    encoder = {name for name in kernels if name.startswith(("encoder.", "quant_conv."))}
    assert (same == encoder) if decoder_only else not same
    assert (notes(ended)["scaling"] == notes(begun)["scaling"]) == decoder_only
    assert notes(ended)["config"] == notes(begun)["config"]
    assert (tmp_path / "later" / "curve.jsonl").read_text().count('"lab"') > 0


def test_what_it_starts_from_is_checked(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    recipe = recipes["vae"]
    assert isinstance(recipe, VAERecipe)
    with pytest.raises(UserError, match="decoder_only = true: `start` names the VAE whose decoder is trained on"):
        replace(recipe, decoder_only=True)
    with pytest.raises(UserError, match=r"\[model\], the shape of the network, is missing; or name weights"):
        replace(recipe, model=None)
    with pytest.raises(UserError, match=r"start: .*nowhere.safetensors does not exist"):
        VAELearner(replace(recipe, start=str(tmp_path / "nowhere.safetensors")))
    run.train("vae", recipe, tmp_path / "first", "cpu")
    later = replace(recipe, model=None, start=str(tmp_path / "first" / "vae.safetensors"))
    with pytest.raises(UserError, match="crop and eval_size must be multiples of"):
        VAELearner(replace(later, crop=33, scale=(33, 48)))


def test_a_diffusion_model_goes_on_from_another(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    first = recipes["ldm"]
    assert isinstance(first, LDMRecipe)
    run.train("ldm", first, tmp_path / "first", "cpu")
    begun = tmp_path / "first" / "ldm.safetensors"
    later = LDMLearner(replace(first, unet=None, start=str(begun), seed=first.seed + 1))
    stored = load_file(begun)
    assert all(tensor.half().equal(stored[name].half()) for name, tensor in later.exported().items())
    assert later.shape == first.unet
    with pytest.raises(UserError, match=r"\[unet\], the shape of the network, is missing; or name weights"):
        replace(first, unet=None)
