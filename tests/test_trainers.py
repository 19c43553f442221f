"""The shared trainer with the VAE's, the diffusion model's, the accelerators' and LaCTok's learners, very small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from lactok.errors import UserError
from lactok.layers.vqgan import VQConfig, VQModel
from lactok.train import changes, parser
from lactok.training import common
from lactok.training.accelerate import AccelerateLearner, AccelerateRecipe
from lactok.training.lactok import LaCTokLearner, LaCTokRecipe
from lactok.training.ldm import LDMLearner, LDMRecipe, UNetShape, VAEPart
from lactok.training.trainer import Learner, Recipe, Trainer
from lactok.training.vae import VAELearner, VAERecipe, VAEShape

CONFIGS = Path(common.__file__).parent / "configs"
UNET = UNetShape((8, 16), (0, 1), head_channels=8)
VAE = VAEShape((8, 8, 8, 8))
VQ = VQConfig(32, (1, 1, 1, 1, 1), 1, 32, 64, 8, usage_buffer=False)
LEARNERS: dict[str, type[Learner]] = {
    "vae": VAELearner, "ldm": LDMLearner, "hyper-sd": AccelerateLearner, "tlcm": AccelerateLearner,
    "stage 1": LaCTokLearner, "stage 2": LaCTokLearner,
}  # fmt: skip


@pytest.fixture
def recipes(photographs: Path, tmp_path: Path) -> dict[str, Recipe]:
    """A recipe for each kind, over random weights of the parts that it takes as given."""
    from lactok.decoder import fold_cross_attention

    common_keys = {
        "data": str(photographs), "steps": 4, "batch": 2, "crop": 32, "scale": (32, 48), "held_out": 2, "warmup": 1,
        "log_every": 1, "eval_every": 4, "save_every": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel(**UNET.arguments())
    fold_cross_attention(unet)
    files = {"vae": AutoencoderKL(**VAE.arguments()), "unet": unet, "vq": VQModel(VQ)}
    for name, module in files.items():
        common.save_state(tmp_path / f"{name}.safetensors", module.state_dict(), {})
    vae = VAEPart(VAE, str(tmp_path / "vae.safetensors"), 0.5)
    given = {"unet": UNET, "unet_weights": str(tmp_path / "unet.safetensors"), "vae": vae}
    fast = {**common_keys, **given, "rank": 2, "grid": 8, "segments": (2, 1)}
    lactok = {
        **common_keys, **given, "encoder": VQ, "encoder_weights": str(tmp_path / "vq.safetensors"), "eval_steps": 1,
        "encoder_sizes": (16, 32), "embedding": (8, 8), "lpips_net": "alex",
    }  # fmt: skip
    out: dict[str, Recipe] = {
        "vae": VAERecipe(name="vae", model=VAE, eval_size=32, **common_keys),
        "ldm": LDMRecipe(name="ldm", unet=UNET, vae=vae, **common_keys),
        "hyper-sd": AccelerateRecipe(name="hyper-sd", method="hyper-sd", **fast),
        "tlcm": AccelerateRecipe(name="tlcm", method="tlcm", **fast),
        "stage 1": LaCTokRecipe(name="stage-1", stage=1, **lactok),
    }
    lora, copy = tmp_path / "lora.safetensors", tmp_path / "copy.safetensors"
    common.save_state(lora, AccelerateLearner(out["hyper-sd"]).exported(), {})  # type: ignore[arg-type]
    common.save_state(copy, LaCTokLearner(out["stage 1"]).exported(), {})  # type: ignore[arg-type]
    second = {**lactok, "sampler": "hyper-sd", "lora": str(lora), "copy": str(copy)}
    return out | {"stage 2": LaCTokRecipe(name="stage-2", stage=2, **second)}


def trainer(recipe: Recipe, kind: str, out: Path) -> Trainer:
    return Trainer(recipe, LEARNERS[kind](recipe), out, Accelerator(cpu=True))  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", LEARNERS)
def test_killed_and_resumed_is_bit_for_bit(recipes: dict[str, Recipe], tmp_path: Path, kind: str) -> None:
    recipe = recipes[kind]
    trainer(recipe, kind, tmp_path / "whole").run()
    broken = trainer(recipe, kind, tmp_path / "broken")
    broken.learner.train()
    for step in range(3):  # the checkpoint of step 2 is on disk, step 3 is lost
        broken.train_step()
        if step == 1:
            broken.save()
    resumed = trainer(recipe, kind, tmp_path / "broken")
    assert resumed.step == 2
    resumed.run()
    for name in ("state.safetensors", f"{recipe.name}.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "learns"),
    [
        ("vae", ("vae.",)),
        ("ldm", ("unet.",)),
        ("tlcm", ("model.unet.",)),
        ("stage 1", ("model.decoder.controlnet.",)),
        ("stage 2", ("model.decoder.controlnet.",)),
    ],
)
def test_only_what_should_learn_changes(
    recipes: dict[str, Recipe], tmp_path: Path, kind: str, learns: tuple[str, ...]
) -> None:
    recipe = replace(recipes[kind], weight_decay=0.5)
    run = trainer(recipe, kind, tmp_path / "out")
    assert all(name.startswith(learns) for name in run.learned)
    if kind == "tlcm":
        assert all(".lora_" in name for name in run.learned)
    before = {k: v.detach().clone() for k, v in run.learner.state_dict().items()}
    run.learner.train()
    for _ in range(2):
        run.train_step()
    changed = {k for k, v in run.learner.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert changed <= run.learned.keys()


def test_accumulated_parts_give_the_same_step(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    whole, parts = (trainer(replace(recipes["ldm"], accumulate=n), "ldm", tmp_path / str(n)) for n in (1, 2))
    values = [run.train_step() for run in (whole, parts)]
    assert values[0]["loss"] == pytest.approx(values[1]["loss"], rel=1e-5)
    for name, parameter in whole.learned.items():  # not the weights: Adam's first step is little but a sign
        torch.testing.assert_close(parts.learned[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    run = trainer(recipes["ldm"], "ldm", tmp_path / "out")
    run.train_step()
    run.save()
    kept = run.state_path.read_bytes()
    with torch.no_grad():
        next(iter(run.learned.values())).fill_(torch.nan)
    with pytest.raises(UserError, match=r"the loss is nan at step 1; stopped, the last good checkpoint is"):
        run.train_step()
    assert run.state_path.read_bytes() == kept


def test_broken_images_are_named_and_replaced(recipes: dict[str, Recipe], photographs: Path, tmp_path: Path) -> None:
    for i in range(0, 70, 2):
        (photographs / f"{i:03}.png").write_bytes(b"not a picture")
    recipe = replace(recipes["ldm"], batch=40, held_out=0)
    run = trainer(recipe, "ldm", tmp_path / "out")
    run.train_step()
    named = (tmp_path / "out" / "broken.txt").read_text().splitlines()
    assert named
    assert len(named) == len(set(named))
    assert all(Path(p).read_bytes() == b"not a picture" for p in named)


def test_mistakes(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    stage_2 = recipes["stage 2"]
    assert isinstance(stage_2, LaCTokRecipe)
    with pytest.raises(UserError, match="stage 2 needs sampler"):
        replace(stage_2, lora="")
    with pytest.raises(UserError, match="leave `lora` out"):
        replace(stage_2, stage=1)
    with pytest.raises(UserError, match="holds no LoRA; was it merged already"):
        LaCTokLearner(replace(stage_2, lora=stage_2.unet_weights))
    with pytest.raises(UserError, match="does not exist; train it first"):
        LDMLearner(replace(recipes["ldm"], vae=VAEPart(VAE, str(tmp_path / "none.safetensors"))))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="does not divide"):
        trainer(replace(recipes["ldm"], accumulate=3), "ldm", tmp_path / "x")
    trainer(recipes["ldm"], "ldm", tmp_path / "y").save()
    with pytest.raises(UserError, match="belongs to another recipe"):
        trainer(replace(recipes["ldm"], seed=1), "ldm", tmp_path / "y")


def test_the_command_line_changes_a_recipe() -> None:
    args = parser().parse_args(
        ["ldm", "--config", "x", "--set", "steps=3", "--set", "vae.weights=a/b.safetensors", "--set", "vae.scaling=0.3"]
    )
    recipe = common.read_config(CONFIGS / "ldm-tiny.toml", LDMRecipe, changes(args))
    assert (recipe.steps, recipe.vae.weights, recipe.vae.scaling) == (3, "a/b.safetensors", 0.3)


@pytest.mark.parametrize("path", sorted(p.name for p in CONFIGS.glob("*.toml") if "vq" not in p.name))
def test_shipped_recipes_are_whole(path: str) -> None:
    kinds = {"vae": VAERecipe, "ldm": LDMRecipe, "acc": AccelerateRecipe, "lac": LaCTokRecipe}
    assert common.read_config(CONFIGS / path, kinds[path[:3]]).name
