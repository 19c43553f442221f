"""The trainers by name, and how a training is started or resumed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lactok.errors import disk_errors


class TrainerEntry(NamedTuple):
    """Where a trainer's code is; the module is imported only when the trainer is used.

    Attributes:
        trains: what it trains, for the help text.
        module: the module's name.
        recipe: name of the recipe's dataclass in the module.
        learner: name of the class or function that makes the learner of a recipe.
        trainer: name of the module's own kind of `Trainer`; empty for the shared one.
    """

    trains: str
    module: str
    recipe: str
    learner: str
    trainer: str = ""


TRAINERS = {
    "vq": TrainerEntry("a VQ tokenizer (LlamaGen's classes)", "lactok.training.vq", "VQRecipe", "VQLearner"),
    "vae": TrainerEntry(
        "the VAE of latents (diffusers' AutoencoderKL)", "lactok.training.vae", "VAERecipe", "VAELearner"
    ),
    "ldm": TrainerEntry("the latent diffusion model, without text", "lactok.training.ldm", "LDMRecipe", "LDMLearner"),
    "accelerate": TrainerEntry(
        "its few-step LoRA", "lactok.training.accelerate", "AccelerateRecipe", "AccelerateLearner"
    ),
    "proxy": TrainerEntry(
        "a MaskGIT-VQGAN, for TiTok's proxy codes", "lactok.training.maskgit_vqgan", "ProxyRecipe", "ProxyLearner"
    ),
    "titok": TrainerEntry("TiTok, each stage", "lactok.training.titok", "TiTokRecipe", "TiTokLearner"),
    "flextok": TrainerEntry(
        "FlexTok, encoder and decoder", "lactok.training.flextok", "FlexTokRecipe", "FlexTokLearner"
    ),
    "seedtok": TrainerEntry("SeedTok, each stage", "lactok.training.seedtok", "SeedTokRecipe", "learner_of"),
    "lactok": TrainerEntry(
        "LaCTok's copy of the UNet, either stage", "lactok.training.lactok", "LaCTokRecipe", "LaCTokLearner"
    ),
    "plain": TrainerEntry(
        "a plain decoder of a VQ tokenizer's ids, LaCTok's control",
        "lactok.training.plain_decoder",
        "PlainDecoderRecipe",
        "PlainDecoderLearner",
    ),
    "text": TrainerEntry(
        "a text encoder on captions alone, for a small generator",
        "lactok.training.text",
        "TextRecipe",
        "TextLearner",
        "TextTrainer",
    ),
    "generator": TrainerEntry(
        "a transformer from captions to a tokenizer's ids",
        "lactok.training.generator",
        "GeneratorRecipe",
        "GeneratorLearner",
        "GeneratorTrainer",
    ),
}


def recipe_kind(trainer: str) -> type[Any]:
    """Return the dataclass of a trainer's recipes."""
    entry = TRAINERS[trainer]
    return getattr(importlib.import_module(entry.module), entry.recipe)


def train(trainer: str, recipe: Any, out: Path, device: str) -> None:
    """Start a training, or resume it from its last checkpoint.

    Args:
        trainer: name of the trainer.
        recipe: a recipe of this trainer.
        out: folder for the checkpoint, the curve and the weights.
        device: "cpu" or a GPU.

    Raises:
        UserError: the data, the weights or the checkpoint do not fit the recipe, or the disk cannot be written to.
    """
    from lactok.training.distributed import accelerator_of
    from lactok.training.trainer import Trainer

    entry = TRAINERS[trainer]
    module = importlib.import_module(entry.module)
    make_learner = getattr(module, entry.learner)
    make_trainer = getattr(module, entry.trainer) if entry.trainer else Trainer
    with disk_errors(out, "choose another `out`; its last checkpoint stays, and the run goes on from there"):
        accelerator = accelerator_of(device, recipe.precision)
        make_trainer(recipe, make_learner(recipe), out, accelerator).run()
        accelerator.end_training()


def train_tiny(name: str, runs: Path, device: str, changes: Mapping[str, Any]) -> None:
    """Run all trainings of a shipped small tokenizer, one after the other.

    Args:
        name: name of the tokenizer.
        runs: folder that holds a folder for each run.
        device: "cpu" or a GPU.
        changes: keys and values that replace those of every recipe.

    Raises:
        UnknownName: there is no such small tokenizer.
        UserError: as in `train`.
    """
    from lactok import config
    from lactok.training import tiny

    for stage in tiny.stages(name, runs):
        recipe = config.build(recipe_kind(stage.trainer), config.merged(stage.values, changes), stage.where)
        train(stage.trainer, recipe, runs / recipe.name, device)
