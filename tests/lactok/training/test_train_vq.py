"""The VQ trainer on a few random pictures: resuming is exact, codes are revived, recipes are checked."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipes import assert_resumes

from lactok import config
from lactok.errors import UserError
from lactok.evaluation import datasets
from lactok.images import open_photograph
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.training import checkpoint, numerics, record
from lactok.training.__main__ import main
from lactok.training.data import Photo, Photos, random_crops
from lactok.training.distributed import accelerator_of
from lactok.training.trainer import Trainer
from lactok.training.vq import Sizes, VQLearner, VQRecipe

pytestmark = pytest.mark.slow  # trainings

CONFIGS = Path(numerics.__file__).parent / "configs"


@pytest.fixture
def recipe(photographs: Path) -> VQRecipe:
    return VQRecipe(
        name="test-vq",
        data=str(photographs),
        held_out=3,
        steps=6,
        batch=2,
        crop=32,
        scale=(32, 48),
        model=VQConfig(32, (1, 1), 1, 32, 64, 4, usage_buffer=False),
        later=(Sizes(4, 48, 1, (48, 48)),),
        warmup=2,
        revive_every=2,
        revive_after=2,
        log_every=1,
        eval_every=6,
        eval_size=32,
        save_every=3,
        bf16=False,
    )


def trainer(recipe: VQRecipe, out: Path) -> Trainer[VQRecipe]:
    made = Trainer(recipe, VQLearner(recipe), out, accelerator_of("cpu"))
    made.learner.train()
    return made


def curve(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds_a_step"} for row in rows]


def test_the_gradient_of_indexing_is_repeatable(
    monkeypatch: pytest.MonkeyPatch, recipe: VQRecipe, tmp_path: Path
) -> None:
    """On several threads it is added in another order now and then, so the same step gave other weights."""
    draw = torch.Generator().manual_seed(0)
    rows, factors = torch.randint(0, 7, (50_000,), generator=draw), torch.randn(50_000, 4, generator=draw)
    gradients = set()
    for _ in range(100):
        table = torch.zeros(7, 4, requires_grad=True)
        with numerics.repeatable("cpu"):
            (table[rows] * factors).sum().backward()
        gradients.add(table.grad.numpy().tobytes())
    assert len(gradients) == 1
    assert not torch.are_deterministic_algorithms_enabled()
    found: list[bool] = []
    forward = VQLearner.forward
    monkeypatch.setattr(
        VQLearner, "forward", lambda *a: found.append(torch.are_deterministic_algorithms_enabled()) or forward(*a)
    )
    trainer(recipe, tmp_path).train_step()
    assert found == [True]


@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_killed_and_resumed_is_bit_for_bit(recipe: VQRecipe, tmp_path: Path, adversarial: float) -> None:
    recipe = replace(recipe, adversarial=adversarial, adversarial_start=2)
    assert_resumes(tmp_path, lambda out: trainer(recipe, out), kept=3)
    assert curve(tmp_path / "whole")[3:] == curve(tmp_path / "broken")[3:]


def test_training_learns(recipe: VQRecipe, tmp_path: Path) -> None:
    run = trainer(replace(recipe, steps=40, batch=4, later=(), peak_lr=2e-3, save_every=100), tmp_path)
    values = [run.train_step()["l2"] for _ in range(40)]
    assert sum(values[-5:]) < 0.7 * sum(values[:5])


def test_a_training_goes_on_from_given_weights(recipe: VQRecipe, tmp_path: Path) -> None:
    first = VQLearner(recipe)
    checkpoint.save_state(tmp_path / "first.safetensors", first.exported(), first.notes())
    again = VQLearner(replace(recipe, seed=recipe.seed + 1, start=str(tmp_path / "first.safetensors")))
    assert all(torch.equal(tensor, first.exported()[name]) for name, tensor in again.exported().items())
    with pytest.raises(UserError, match=r"start: .*nowhere.safetensors does not exist"):
        VQLearner(replace(recipe, start=str(tmp_path / "nowhere.safetensors")))
    later = replace(recipe, model=None, start=str(tmp_path / "first.safetensors"))
    assert VQLearner(later).model.config == recipe.model
    with pytest.raises(UserError, match="crop must be a multiple of 2"):
        VQLearner(replace(later, crop=33, scale=(33, 48)))
    with pytest.raises(UserError, match=r"\[model\], the shape of the network, is missing; or name weights"):
        replace(recipe, model=None)


def test_dead_codes_move_onto_features(recipe: VQRecipe, tmp_path: Path) -> None:
    learner = VQLearner(recipe)
    assert learner.revival is not None
    learner.revival.last_used[:] = 10
    learner.revival.last_used[:5] = 0
    before = learner.model.quantize.embedding.weight.detach().clone()
    z = torch.randn(1, 4, 8, 8)
    learner.revival.revive(z.permute(0, 2, 3, 1).flatten(0, 2), step=10)
    after = learner.model.quantize.embedding.weight.detach()
    moved = (before != after).any(1).nonzero().flatten().tolist()
    assert moved == [0, 1, 2, 3, 4]
    features = torch.nn.functional.normalize(z.permute(0, 2, 3, 1).flatten(0, 2), dim=-1)
    assert torch.cdist(after[:5], features).min(1).values.max() < 1e-3


def test_features_are_first_learned_without_a_codebook(recipe: VQRecipe, tmp_path: Path) -> None:
    late = replace(recipe, quantize_from=3, steps=5)
    learner = VQLearner(late)
    learner.train()
    before = learner.model.quantize.embedding.weight.detach().clone()
    z = torch.randn(2, 4, 8, 8, requires_grad=True)
    for step in range(3):
        codes, parts = learner.quantize(z, step)
        assert torch.allclose(codes, torch.nn.functional.normalize(z, dim=1))
        assert not parts["codebook"].detach().any()
        moved = learner.after_step(step)
        assert (not moved) == (step < 2)
    weight = learner.model.quantize.embedding.weight.detach()
    assert (before != weight).any(1).all()  # 128 features for 64 codes
    features = torch.nn.functional.normalize(z.detach().permute(0, 2, 3, 1).flatten(0, 2), dim=-1)
    assert torch.cdist(weight, features).min(1).values.max() < 1e-3
    codes, parts = learner.quantize(z, 3)
    assert torch.allclose(codes, learner.model.quantize.lookup(learner.step_ids[0]), atol=1e-6)
    assert parts["codebook"].detach() > 0
    assert not learner.after_step(3)


def test_a_training_that_quantizes_later_resumes_bit_for_bit(recipe: VQRecipe, tmp_path: Path) -> None:
    assert_resumes(tmp_path, lambda out: trainer(replace(recipe, quantize_from=4), out), kept=3)


def test_an_images_mean_colour_passes_where_a_group_has_several_channels() -> None:
    """With as many groups as channels the last norm makes all flat images alike."""
    flat = torch.tensor([-0.5, 0.5])[:, None, None, None].expand(2, 32, 8, 8) + 0.01 * torch.randn(2, 32, 8, 8)
    spread = {}
    for groups in (32, 8):
        torch.manual_seed(0)
        decoder = VQModel(VQConfig(32, (1, 1), 1, 32, 64, 4, usage_buffer=False, groups=groups)).decoder
        direction = torch.linspace(-1, 1, 32)[:, None, None]  # channels of one image differ, as trained ones do
        first, second = decoder.norm_out(flat * direction)
        spread[groups] = float((first.mean((1, 2)) - second.mean((1, 2))).abs().mean().detach())
    assert spread[32] < 1e-3 < 0.1 < spread[8]


def test_weight_decay_spares_norms_biases_and_codes(recipe: VQRecipe, tmp_path: Path) -> None:
    decayed, spared = trainer(recipe, tmp_path).optimizer.param_groups
    assert decayed["weight_decay"] > 0
    assert all(p.ndim == 4 for p in decayed["params"])
    assert spared["weight_decay"] == 0
    assert any(p.shape == (64, 4) for p in spared["params"])


def test_batches_depend_on_the_step_only(photographs: Path, tmp_path: Path) -> None:
    photos = Photos.of(photographs, 3)
    first = random_crops(photos, 4, 32, (32, 48), 0, 7, tmp_path)
    assert torch.equal(first, random_crops(photos, 4, 32, (32, 48), 0, 7, tmp_path))
    assert not torch.equal(first, random_crops(photos, 4, 32, (32, 48), 0, 8, tmp_path))
    assert first.shape == (4, 3, 32, 32)
    assert float(first.min()) >= -1


def test_a_broken_photograph_is_replaced_by_the_next_one(photographs: Path, tmp_path: Path) -> None:
    photos = Photos.of(str(photographs), held_out=2)
    broken = photos.train[3]
    (photographs / broken.name).write_bytes(b"not a picture")
    whole = random_crops(photos, len(photos.train), 32, (32, 48), 0, 0, tmp_path)  # an epoch: all of them
    assert whole.shape == (len(photos.train), 3, 32, 32)
    assert broken.name in (tmp_path / "broken.txt").read_text()


def test_held_out_images_are_chosen_by_name(photographs: Path) -> None:
    photos = Photos.of(photographs, 3)
    assert len(photos.held_out) == 3
    assert not set(photos.held_out) & set(photos.train)
    assert photos == Photos.of(str(photographs), 3)


def test_other_photographs_are_refused(recipe: VQRecipe, photographs: Path, tmp_path: Path) -> None:
    """A checkpoint is of what it was trained on: one changed byte, or a picture more, is other data."""
    trainer(recipe, tmp_path / "out").save()
    trainer(recipe, tmp_path / "out")
    one, two = photographs / "000.png", photographs / "001.png"
    before = one.read_bytes()
    one.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(UserError, match=r"was trained on other pictures than .* holds now"):
        trainer(recipe, tmp_path / "out")
    one.write_bytes(before)
    (photographs / "more.png").write_bytes(two.read_bytes())
    with pytest.raises(UserError, match="was trained on other pictures"):
        trainer(recipe, tmp_path / "out")
    (photographs / "more.png").unlink()
    moved = photographs.rename(tmp_path / "moved")
    trainer(replace(recipe, data=str(moved)), tmp_path / "out")


def test_photographs_are_opened_as_evaluation_opens_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    Image.new("RGB", (6, 4), "red").save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    opened = {name: Photo(tmp_path / name).open_rgb() for name in ("turned.jpg", "deep.png", "clear.png")}
    assert opened["turned.jpg"].size == (4, 6)
    for name in ("deep.png", "clear.png"):
        assert opened[name].getextrema() == ((255, 255),) * 3
    for name, image in opened.items():
        assert image.tobytes() == open_photograph(tmp_path / name).tobytes()
    Image.new("RGB", (6, 4)).save(tmp_path / "scan.tif")
    Image.new("RGB", (6, 4)).save(tmp_path / "plain.bmp")
    assert {p.name for p in Photos.of(tmp_path, 0).train} == {s.id for s in datasets.folder(tmp_path).samples}
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken.png is not a readable image \(not an image\)"):
        Photo(tmp_path / "broken.png").open_rgb()


def test_a_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 0, "l2": 1}\n{"step": 1, "l')
    record.Curve(tmp_path / "curve.jsonl", 5).log(1, l2=2)
    assert [row["step"] for row in curve(tmp_path)] == [0, 1]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("vq*.toml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert config.read(path, VQRecipe).steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam = 'x'", "unknown key in .*'nam', did you mean 'name'"),
        ("name = 'x'", "missing data, steps, batch, crop, scale"),
        ("name = ", "config .*Invalid value"),
        ("name = 'x'\nheld_out = 'many'", "held_out = 'many': should be a valid integer"),
        ("name = 'x'\nscale = [128, '288']", "scale.1 = '288': should be a valid integer"),
        ("name = 'x'\nscale = [128, 288, 300]", "scale = .*: Tuple should have at most 2 items"),
        ("name = 'x'\nscale = [128]", "scale = .*: too few values"),
        ("name = 'x'\nbf16 = 1", "bf16 = 1: should be a valid boolean"),
        ("name = 'x'\npeak_lr = inf", "peak_lr = inf: should be a finite number"),
        ("name = 'x'\n[model]\nchannel_mult = [1, 1.5]", "model.channel_mult.1 = 1.5: should be a valid integer"),
        ("name = 'x'\n[model]\nchanel_mult = [1]", r"unknown key in .* \[model\] 'chanel_mult', did you mean"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        config.read(tmp_path / "a.toml", VQRecipe)


def test_other_mistakes(recipe: VQRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        config.read(tmp_path / "none.toml", VQRecipe)
    with pytest.raises(UserError, match="does not exist"):
        trainer(replace(recipe, data=str(tmp_path / "none")), tmp_path / "a")
    with pytest.raises(UserError, match="more than the 70 held out"):
        trainer(replace(recipe, held_out=70), tmp_path / "b")
    trainer(recipe, tmp_path / "c").save()
    with pytest.raises(UserError, match="another recipe"):
        trainer(replace(recipe, peak_lr=1e-5), tmp_path / "c")


def test_the_former_names_still_work() -> None:
    from lactok.training import common

    for name, place in common._FORMER.items():
        module, _, attribute = place.rpartition(".")
        with pytest.warns(DeprecationWarning, match=f"lactok.training.common.{name} is {place} now"):
            assert getattr(common, name) is getattr(importlib.import_module(module), attribute)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = common.nothing


def test_a_missing_recipe_says_where_recipes_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["vq", "--config", "none.toml"])
    assert f"config none.toml does not exist; the recipes are in {CONFIGS}" in capsys.readouterr().err
