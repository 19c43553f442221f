"""TiTok's trainer and that of its proxy VQGAN, very small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import shared
from recipes import assert_resumes, small_keys

import lactok
from lactok.errors import UserError
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.training import checkpoint, numerics
from lactok.training.codebook import CodebookLearner
from lactok.training.data import Photos, centre_square, to_tensor
from lactok.training.distributed import accelerator_of
from lactok.training.maskgit_vqgan import ProxyLearner, ProxyRecipe
from lactok.training.positional import cell_positions, patch_positions, sincos_embedding
from lactok.training.titok import TiTokLearner, TiTokRecipe
from lactok.training.trainer import Recipe, Trainer
from lactok.training.windows import random_windows

pytestmark = pytest.mark.slow  # trainings

CONFIGS = Path(numerics.__file__).parent / "configs"
PIXEL = MaskGITConfig(8, (1, 1, 2), 1, 8, 16, 4)  # 4 pixels a code
MODEL = TiTokConfig((16, 1, 2), (16, 1, 2), 4, 32, 4, image_size=32, patch=4, pixel=PIXEL)
LEARNERS: dict[str, type[CodebookLearner]] = {
    "proxy": ProxyLearner,
    "stage 1": TiTokLearner,
    "stage 2": TiTokLearner,
    "stage 3": TiTokLearner,
}


@dataclass(frozen=True)
class Recipes:
    """A proxy's recipe, and those of the stages over random weights of what they take as given."""

    proxy: ProxyRecipe
    first: TiTokRecipe
    second: TiTokRecipe
    third: TiTokRecipe

    def __getitem__(self, kind: str) -> ProxyRecipe | TiTokRecipe:
        recipes: dict[str, ProxyRecipe | TiTokRecipe] = {
            "proxy": self.proxy,
            "stage 1": self.first,
            "stage 2": self.second,
            "stage 3": self.third,
        }
        return recipes[kind]


@pytest.fixture
def small(photographs: Path, tmp_path: Path) -> Recipes:
    for path in sorted(photographs.iterdir())[6:]:  # few, so that they come again
        path.unlink()
    keys = small_keys(photographs, 32, variants=1, revive_every=1, revive_after=1)
    torch.manual_seed(0)
    proxy, start = tmp_path / "proxy.safetensors", tmp_path / "start.safetensors"
    vqgan = MaskGITVQGAN(PIXEL)
    torch.nn.init.normal_(vqgan.quantize.embedding.weight)
    checkpoint.save_state(proxy, vqgan.state_dict(), {})
    checkpoint.save_state(start, TiTok(MODEL).state_dict(), {"stage": 1})
    checkpoint.save_state(tmp_path / "second.safetensors", TiTok(MODEL).state_dict(), {"stage": 2})
    return Recipes(
        ProxyRecipe(name="proxy", model=PIXEL, eval_size=32, **keys),
        TiTokRecipe(name="first", stage=1, model=MODEL, proxy=str(proxy), **keys),
        TiTokRecipe(name="second", stage=2, model=MODEL, start=str(start), **keys),
        TiTokRecipe(name="third", stage=3, model=MODEL, start=str(tmp_path / "second.safetensors"), **keys),
    )


def trainer(recipe: Recipe, kind: str, out: Path) -> Trainer:
    return Trainer(recipe, LEARNERS[kind](recipe), out, accelerator_of("cpu"))  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", LEARNERS)
def test_killed_and_resumed_is_bit_for_bit(small: Recipes, tmp_path: Path, kind: str) -> None:
    recipe = small[kind]
    assert_resumes(tmp_path, lambda out: trainer(recipe, kind, out))


def test_what_learns_and_what_is_frozen(small: Recipes, tmp_path: Path) -> None:
    parts = {
        "proxy": {"encoder", "decoder", "quantize"},
        "stage 1": {"encoder", "latent_tokens", "decoder", "quantize"},
        "stage 2": {"decoder", "pixel_quantize", "pixel_decoder"},
        "stage 3": {"encoder", "latent_tokens", "decoder", "quantize", "pixel_quantize", "pixel_decoder"},
    }
    for kind, expected in parts.items():
        run = trainer(small[kind], kind, tmp_path / kind)
        before = {k: v.detach().clone() for k, v in run.learner.state_dict().items()}
        run.learner.train()
        for _ in range(2):
            run.train_step()
        changed = {k for k, v in run.learner.state_dict().items() if not torch.equal(v, before[k])}
        assert {name.split(".")[1] for name in changed} == expected
        assert changed <= run.learned.keys()
        without = [k for k, p in run.learned.items() if p.grad is None or not p.grad.any()]
        # the patches' class token and the keys' bias move nothing where one block leaves only the latents or patches
        assert all(k.endswith("in_proj_bias") for k in without)


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_loss_goes_down(small: Recipes, tmp_path: Path, kind: str) -> None:
    recipe = replace(small[kind], steps=60, batch=4, peak_lr=3e-3, schedule="constant")
    run = trainer(recipe, kind, tmp_path / "out")
    run.learner.train()
    losses = [run.train_step()["loss"] for _ in range(60)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_stage_1_predicts_the_proxy_s_ids(small: Recipes) -> None:
    recipe = small.first
    learner = TiTokLearner(recipe)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seeds, model, proxy = torch.tensor([1, 2]), learner.model, MaskGITVQGAN(PIXEL)
    proxy.load_state_dict(checkpoint.load_state(Path(recipe.proxy))[0])
    assert torch.equal(model.pixel_quantize.embedding.weight, proxy.quantize.embedding.weight)
    loss, parts = learner(images, seeds, 0)
    x = images / 2 + 0.5
    logits = model.decoder(model.quantize.lookup(model.encode(x)[:, None]))
    entropy = F.cross_entropy(logits, proxy.encode(x))
    torch.testing.assert_close(parts["cross_entropy"], entropy)
    torch.testing.assert_close(loss, entropy + parts["codebook"])
    # soft decoding through the model's own path is what stage 2 trains and the tokenizer does
    soft = proxy.decoder(torch.einsum("bkhw,kc->bchw", logits.softmax(1), proxy.quantize.embedding.weight))
    torch.testing.assert_close(model.decode(model.encode(x)), soft)
    torch.testing.assert_close(learner.reconstruct(images, seeds), (2 * soft - 1).clamp(-1, 1))
    assert learner.bits == 4 * 5


def test_the_error_of_mean_codes_is_zero_for_certain_predictions(small: Recipes) -> None:
    learner = TiTokLearner(replace(small.first, pixels=1.0))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    targets = learner.targets(images)
    wrong, _ = learner(images, torch.tensor([1, 2]), 0)
    certain = 100 * F.one_hot(targets, 16).permute(0, 3, 1, 2).float()
    learner.model.decoder = torch.nn.Identity()  # type: ignore[assignment]
    learner.quantize = lambda z, step: (certain, {"codebook": torch.zeros(())})  # type: ignore[method-assign]
    right, parts = learner(images, torch.tensor([1, 2]), 0)
    assert float(right) == pytest.approx(0, abs=1e-6)
    assert float(wrong.detach()) > 0.1
    assert float(parts["pixels"]) == pytest.approx(0, abs=1e-6)


def test_stage_2_compares_pixels(small: Recipes) -> None:
    recipe = small.second
    learner = TiTokLearner(recipe)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    _, parts = learner(images, torch.tensor([1, 2]), 0)
    output = 2 * learner.model.decode(learner.model.encode(images / 2 + 0.5)) - 1
    torch.testing.assert_close(parts["l2"], F.mse_loss(output, images))
    torch.testing.assert_close(parts["lpips"], learner.lpips(output, images).mean())


def test_stage_3_begins_with_the_codes_that_are_there(small: Recipes, tmp_path: Path) -> None:
    run = trainer(replace(small.third, peak_lr=0.0, steps=100), "stage 3", tmp_path / "out")
    learner = run.learner
    assert isinstance(learner, TiTokLearner)
    before = learner.model.quantize.embedding.weight.clone()
    learner.train()
    parts = run.train_step()
    assert torch.equal(learner.model.quantize.embedding.weight, before)
    assert parts["codebook"] > 0
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    _, parts = learner(images, torch.tensor([1, 2]), 0)
    output = 2 * learner.model.decode(learner.model.encode(images / 2 + 0.5)) - 1
    torch.testing.assert_close(parts["l2"], F.mse_loss(output, images), atol=1e-6, rtol=1e-4)


def test_windows_are_the_same_place_in_codes_and_pixels() -> None:
    codes = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(20, 1, 1, 1)
    pixels = codes.repeat_interleave(4, 2).repeat_interleave(4, 3)
    some, crops = random_windows(codes, pixels, torch.arange(20), 3)
    assert some.shape == (20, 1, 3, 3)
    assert torch.equal(some.repeat_interleave(4, 2).repeat_interleave(4, 3), crops)
    assert len({tuple(w.flatten().tolist()) for w in some}) > 5


def test_codes_start_on_features_and_the_dead_are_moved(small: Recipes, tmp_path: Path) -> None:
    run = trainer(replace(small.first, peak_lr=0.0, steps=100, revive_after=10), "stage 1", tmp_path / "out")
    learner = run.learner
    assert isinstance(learner, TiTokLearner)
    assert learner.revival is not None
    learner.train()
    before = learner.model.quantize.codes().clone()
    assert run.train_step()["alive"] == 0
    moved = (learner.model.quantize.codes() != before).any(1)
    assert 0 < int(moved.sum()) <= 2 * 4  # the batch has two images of four features
    assert torch.equal(learner.revival.last_used >= 0, moved | (learner.revival.last_used == 0))
    kept = run.average["model.quantize.embedding.weight"]
    torch.testing.assert_close(kept[moved], learner.model.quantize.embedding.weight[moved])
    assert run.train_step()["alive"] > 0


def test_places_are_alike_where_they_are_near() -> None:
    grid = sincos_embedding(128, patch_positions(16))
    assert grid.shape == (256, 128)
    likeness = grid @ grid.T / 64
    assert likeness[0, 0] > likeness[0, 1] > likeness[0, 2] > likeness[0, 10]
    torch.testing.assert_close(likeness[0, 1], likeness[0, 16])
    # a cell of two patches is as near to the one as to the other
    cell = sincos_embedding(128, cell_positions(16, 16, 8))[0]
    torch.testing.assert_close(grid[0] @ cell, grid[1] @ cell)


def test_starting_values(small: Recipes) -> None:
    model = TiTokLearner(replace(small.first, places=(2, 2))).model
    grey = torch.full((1, 3, 32, 32), 0.5)
    torch.testing.assert_close(model.encoder.patch_embed(grey), torch.zeros(1, 16, 8, 8), atol=1e-5, rtol=0)
    for part in (model.encoder, model.decoder):
        assert torch.equal(part.positional_embedding[1:], sincos_embedding(16, patch_positions(8)))
        assert torch.equal(part.latent_token_positional_embedding, sincos_embedding(16, cell_positions(8, 2, 2)))
        for block in part.transformer:
            query, key, _ = block.attn.in_proj_weight.chunk(3)
            assert torch.equal(query, key)


def test_mistakes_in_recipes_are_one_line(small: Recipes, tmp_path: Path) -> None:
    first, second, proxy = small.first, small.second, small.proxy
    wrong: list[tuple[Recipe, dict[str, Any], str]] = [
        (first, {"stage": 4}, "stage = 4: 1, 2 or 3"),
        (first, {"proxy": ""}, "stage 1 needs `proxy`"),
        (second, {"proxy": "x"}, "stages 2 and 3 need `start`"),
        (first, {"model": replace(MODEL, legacy=False)}, "only the first layout"),
        (first, {"model": replace(MODEL, patch=8)}, "model.patch must be"),
        (first, {"crop": 64, "scale": (64, 80)}, "must be model.image_size = 32"),
        (first, {"places": (3, 2)}, "rows and columns that make model.tokens = 4 cells"),
        (second, {"window": 9}, "window = 9: 0 to 8 codes"),
        (second, {"lpips_net": "vgx"}, "vgx"),
        (proxy, {"lpips_net": "vgx"}, "vgx"),
        (proxy, {"crop": 30}, "multiples of 4"),
        (proxy, {"model": replace(PIXEL, groups=5)}, "must be a multiple of groups = 5"),
    ]
    for recipe, change, message in wrong:
        with pytest.raises(UserError, match=message) as caught:
            replace(recipe, **change)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist; train it first"):
        TiTokLearner(replace(first, proxy=str(tmp_path / "none.safetensors")))
    run = trainer(second, "stage 2", tmp_path / "second")
    run.evaluate()
    with pytest.raises(UserError, match="is of stage 2; name the weights of stage 1"):
        TiTokLearner(replace(second, start=str(run.export_path)))
    with pytest.raises(UserError, match="is of stage 1; name the weights of stage 2 or 3"):
        TiTokLearner(replace(small.third, start=second.start))


def test_the_shipped_tokenizer_beats_the_mean_colour() -> None:
    tokenizer = lactok.load("titok-s128-tiny")
    photo = Photos.of(shared("data", "imagenet-1k-sample"), 50).held_out[0]
    image = to_tensor([centre_square(photo.open_rgb(), 256)]) / 2 + 0.5
    ids = tokenizer.encode(image)
    assert ids.shape == (1, 128)
    output = tokenizer.decode(ids)
    mean = image.mean((2, 3), keepdim=True).expand_as(image)
    psnr, flat = (-10 * torch.log10(F.mse_loss(x, image)) for x in (output, mean))
    assert float(psnr) > float(flat) + 2
