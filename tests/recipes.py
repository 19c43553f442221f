"""Very small recipes of every trainer, over random weights of the parts that they take as given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from lactok.nn.lactok import VAEShape
from lactok.nn.latent_decoder import UNetShape
from lactok.nn.plain_decoder import PlainDecoderShape
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.training import checkpoint
from lactok.training.accelerate import AccelerateLearner, AccelerateRecipe
from lactok.training.distributed import accelerator_of
from lactok.training.flextok import FlexTokLearner, FlexTokRecipe, FlexTokShape
from lactok.training.lactok import LaCTokLearner, LaCTokRecipe
from lactok.training.ldm import LDMLearner, LDMRecipe, VAEPart
from lactok.training.learner import Learner
from lactok.training.plain_decoder import PlainDecoderLearner, PlainDecoderRecipe
from lactok.training.recipe import Recipe
from lactok.training.trainer import Trainer
from lactok.training.vae import VAELearner, VAERecipe

UNET = UNetShape((8, 16), (0, 1), head_channels=8)
VAE = VAEShape((8, 8, 8, 8))
VQ = VQConfig(32, (1, 1, 1, 1, 1), 1, 32, 64, 8, usage_buffer=False)
LEARNERS: dict[str, type[Learner]] = {
    "vae": VAELearner,
    "ldm": LDMLearner,
    "hyper-sd": AccelerateLearner,
    "tlcm": AccelerateLearner,
    "flextok": FlexTokLearner,
    "stage 1": LaCTokLearner,
    "stage 2": LaCTokLearner,
    "plain": PlainDecoderLearner,
}


def small_keys(photographs: Path, crop: int, **more: Any) -> dict[str, Any]:
    """Return the keys that all small recipes have: four steps of two squares of side `crop`, one checkpoint midway."""
    keys: dict[str, Any] = {
        "data": str(photographs),
        "steps": 4,
        "batch": 2,
        "crop": crop,
        "scale": (crop, crop + 16),
        "held_out": 2,
        "warmup": 1,
        "log_every": 1,
        "eval_every": 4,
        "save_every": 2,
    }
    return keys | more


@pytest.fixture
def recipes(photographs: Path, tmp_path: Path) -> dict[str, Recipe]:
    """A recipe for each kind, over random weights of the parts that it takes as given."""
    from lactok.nn.latent_decoder import fold_cross_attention

    common_keys = small_keys(photographs, 32)
    torch.manual_seed(0)
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel(**UNET.arguments())
    fold_cross_attention(unet)
    files = {"vae": AutoencoderKL(**VAE.arguments()), "unet": unet, "vq": VQModel(VQ)}
    stated = {"vq": {"config": {"model": asdict(VQ)}}}
    for name, module in files.items():
        checkpoint.save_state(tmp_path / f"{name}.safetensors", module.state_dict(), stated.get(name, {}))
    vae = VAEPart(weights=str(tmp_path / "vae.safetensors"), scaling=0.5, shape=VAE)
    given = {"unet": UNET, "unet_weights": str(tmp_path / "unet.safetensors"), "vae": vae}
    fast = {**common_keys, **given, "rank": 2, "grid": 8, "segments": (2, 1)}
    lactok = {
        **common_keys,
        **given,
        "encoder_weights": str(tmp_path / "vq.safetensors"),
        "eval_steps": 1,
        "encoder_sizes": (32, 48),
        "embedding": (8, 8),
        "lpips_net": "alex",
    }
    out: dict[str, Recipe] = {
        "vae": VAERecipe(name="vae", model=VAE, eval_size=32, **common_keys),
        "ldm": LDMRecipe(name="ldm", unet=UNET, vae=vae, **common_keys),
        "hyper-sd": AccelerateRecipe(name="hyper-sd", method="hyper-sd", **fast),
        "tlcm": AccelerateRecipe(name="tlcm", method="tlcm", **fast),
        "flextok": FlexTokRecipe(
            name="flextok",
            model=FlexTokShape((16, 1), (16, 1), 8, 8, (5, 5)),
            vae=vae,
            lengths=(1, 2, 8),
            groups=2,
            eval_lengths=(1, 8),
            eval_steps=2,
            **common_keys,
        ),
        "stage 1": LaCTokRecipe(name="stage-1", stage=1, **lactok),
        "plain": PlainDecoderRecipe(
            name="plain",
            model=PlainDecoderShape(32, (1, 1, 1, 1, 1), 1, 32),
            encoder_weights=str(tmp_path / "vq.safetensors"),
            tokenizer_size=32,
            lpips_net="alex",
            l1=1.0,
            lab=1.0,
            **common_keys,
        ),
    }
    lora, copy = tmp_path / "lora.safetensors", tmp_path / "copy.safetensors"
    checkpoint.save_state(lora, AccelerateLearner(out["hyper-sd"]).exported(), {})  # type: ignore[arg-type]
    checkpoint.save_state(copy, LaCTokLearner(out["stage 1"]).exported(), {})  # type: ignore[arg-type]
    second = {**lactok, "sampler": "hyper-sd", "lora": str(lora), "copy": str(copy)}
    return out | {"stage 2": LaCTokRecipe(name="stage-2", stage=2, **second)}


def trainer(recipe: Recipe, kind: str, out: Path) -> Trainer:
    return Trainer(recipe, LEARNERS[kind](recipe), out, accelerator_of("cpu"))  # type: ignore[call-arg]


def assert_resumes(
    folder: Path, make: Callable[[Path], Trainer], killed: Callable[[Path], Trainer] | None = None, kept: int = 2
) -> None:
    """A run that was killed and goes on gives the same checkpoint and weights as an unbroken one, bit for bit.

    Args:
        make: of a folder, the trainer.
        killed: the trainer of the run that is killed, if another.
        kept: steps at which the checkpoint was written; what came after is lost.
    """
    whole = make(folder / "whole")
    whole.run()
    broken = (killed or make)(folder / "broken")
    broken.learner.train()
    for step in range(kept + 2):
        broken.train_step()
        broken.record.log("train", step + 1, {"lost": 1})
        if step == kept - 1:
            broken.save()
    resumed = make(folder / "broken")
    assert resumed.step == kept
    resumed.run()
    for name in ("state.safetensors", whole.export_path.name):
        assert (folder / "whole" / name).read_bytes() == (folder / "broken" / name).read_bytes()
