"""The trainers by name, and how a training is started or gone on with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lactok.errors import disk_errors

# trainer -> what it trains, module, recipe and learner
TRAINERS = {
    "vq": ("a VQ tokenizer (LlamaGen's classes)", "lactok.training.vq", "VQRecipe", "VQLearner"),
    "vae": ("the VAE of latents (diffusers' AutoencoderKL)", "lactok.training.vae", "VAERecipe", "VAELearner"),
    "ldm": ("the latent diffusion model, without text", "lactok.training.ldm", "LDMRecipe", "LDMLearner"),
    "accelerate": ("its few-step LoRA", "lactok.training.accelerate", "AccelerateRecipe", "AccelerateLearner"),
    "proxy": (
        "a MaskGIT-VQGAN, for TiTok's proxy codes",
        "lactok.training.maskgit_vqgan",
        "ProxyRecipe",
        "ProxyLearner",
    ),
    "titok": ("TiTok, either stage", "lactok.training.titok", "TiTokRecipe", "TiTokLearner"),
    "flextok": ("FlexTok, encoder and decoder", "lactok.training.flextok", "FlexTokRecipe", "FlexTokLearner"),
    "seedtok": ("SeedTok, each stage", "lactok.training.seedtok", "SeedTokRecipe", "learner_of"),
    "lactok": ("LaCTok's copy of the UNet, either stage", "lactok.training.lactok", "LaCTokRecipe", "LaCTokLearner"),
}


def recipe_kind(trainer: str) -> type[Any]:
    """The dataclass of a trainer's recipes."""
    _, module, kind, _ = TRAINERS[trainer]
    return getattr(importlib.import_module(module), kind)


def train(trainer: str, recipe: Any, out: Path, device: str) -> None:
    """Start a training, or go on with it.

    Args:
        recipe: of the trainer's kind.
        out: checkpoint, curve and weights.

    Raises:
        UserError: data, weights or a checkpoint that do not fit; the disk is full or cannot be written to.
    """
    _, module, _, learner = TRAINERS[trainer]
    from lactok.training.distributed import accelerator_of
    from lactok.training.trainer import Trainer

    make = getattr(importlib.import_module(module), learner)
    with disk_errors(out):
        accelerator = accelerator_of(device, recipe.precision)
        Trainer(recipe, make(recipe), out, accelerator).run()
        accelerator.end_training()


def train_tiny(name: str, runs: Path, device: str, changes: Mapping[str, Any]) -> None:
    """All trainings of a shipped small tokenizer, one after the other.

    Args:
        runs: the folder of all runs.
        changes: to every recipe.

    Raises:
        UnknownName: no such small tokenizer; and what `train` raises.
    """
    from lactok import config
    from lactok.training import tiny

    for stage in tiny.stages(name, runs):
        recipe = config.build(recipe_kind(stage.trainer), config.merged(stage.values, changes), stage.where)
        train(stage.trainer, recipe, runs / recipe.name, device)
