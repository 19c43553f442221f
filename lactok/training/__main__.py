"""`python -m lactok.train TRAINER --config FILE [--data DIR] [--out DIR] [--device D]`: the trainers.

`python -m lactok.train tiny NAME [--data DIR]` runs all of them that a shipped small tokenizer needs.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import UserError, disk_errors

# trainer -> what it trains, module, recipe and learner (VQ's has a loop of its own)
TRAINERS = {
    "vq": ("a VQ tokenizer (LlamaGen's classes)", "lactok.training.vq", "VQTraining", "VQTrainer"),
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
    "seedtok": ("SeedTok, each stage", "lactok.training.seedtok", "SeedTokRecipe", "SeedTokLearner"),
    "lactok": ("LaCTok's copy of the UNet, either stage", "lactok.training.lactok", "LaCTokRecipe", "LaCTokLearner"),
}


def parser() -> Parser:
    root = Parser(prog="python -m lactok.train", description="Train a model of this project.")
    trainers = root.add_subparsers(dest="trainer", required=True)
    for name, (text, *_) in TRAINERS.items():
        sub = trainers.add_parser(name, help=text)
        sub.add_argument("--config", required=True, help="a recipe, see lactok/training/configs/")
        sub.add_argument(
            "--data",
            help="instead of the recipe's: a folder of photographs or of webdataset shards, or a pattern of shards",
        )
        sub.add_argument("--out", type=Path, help="checkpoint, curve and weights (training-runs/NAME OF THE RECIPE)")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value"
        )
        sub.add_argument("--device", default="cpu")
    tiny = trainers.add_parser("tiny", help="all trainings of a shipped small tokenizer, one after the other")
    tiny.add_argument("name", help="titok-s128-tiny, flextok-tiny, seedtok-tiny, lactok-h-tiny, ...")
    tiny.add_argument("--data", help="a folder of photographs or of webdataset shards, or a pattern of shards")
    tiny.add_argument("--runs", type=Path, default=Path("training-runs"), help="the folder of all runs (%(default)s)")
    tiny.add_argument("--device", default="cpu")
    whole = trainers.add_parser("assemble", help="LaCTok's trained copy and all it needs as one file of weights")
    whole.add_argument("--config", required=True, help="the recipe that trained the copy")
    whole.add_argument("--copy", required=True, help="what the trainer wrote as NAME.safetensors")
    whole.add_argument("--out", type=Path, required=True, help="the file, for example weights/lactok-h.safetensors")
    whole.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value")
    whole.set_defaults(device="cpu", data=None)
    return root


def changes(settings: Sequence[str], data: str | None = None) -> dict[str, Any]:
    """What the command line says instead of the recipe: {"vae": {"scaling": 0.5}} for `--set vae.scaling=0.5`.

    Raises:
        UserError: not KEY=VALUE.
    """
    tree: dict[str, Any] = {"data": data} if data else {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, as in --set peak_lr=1e-4 or --set vae.weights=FILE")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a word without quotes
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = parsed
    return tree


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok.device import check_device
    from lactok.training import common

    check_device(args.device)
    if args.trainer == "tiny":
        from lactok.training import tiny

        for stage in tiny.stages(args.name, args.runs):
            values = stage.values | ({"data": args.data} if args.data else {})
            _, module, kind, _ = TRAINERS[stage.trainer]
            recipe = common.build(getattr(importlib.import_module(module), kind), values, stage.where)
            train(stage.trainer, recipe, args.runs / recipe.name, args.device)
        return 0
    overrides = changes(args.set, args.data)
    _, module, kind, _ = TRAINERS["lactok" if args.trainer == "assemble" else args.trainer]
    parts = importlib.import_module(module)
    recipe = common.read_config(args.config, getattr(parts, kind), overrides)
    if args.trainer == "assemble":
        from lactok.training.assemble import assemble

        assemble(recipe, args.copy, args.out)
        print(f"wrote {args.out}")
        return 0
    train(args.trainer, recipe, args.out or Path("training-runs") / recipe.name, args.device)
    return 0


def train(trainer: str, recipe: Any, out: Path, device: str) -> None:
    """Start a training, or go on with it."""
    _, module, _, learner = TRAINERS[trainer]
    make = getattr(importlib.import_module(module), learner)
    with disk_errors(out):
        if trainer == "vq":
            make(recipe, out, device).run()
            return
        from lactok.training.distributed import accelerator_of
        from lactok.training.trainer import Trainer

        accelerator = accelerator_of(device, recipe.precision)
        Trainer(recipe, make(recipe), out, accelerator).run()
        accelerator.end_training()


if __name__ == "__main__":
    main()
