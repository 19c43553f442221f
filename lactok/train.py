"""`python -m lactok.train TRAINER --config FILE [--data DIR] [--out DIR] [--device D]`: the trainers."""

from __future__ import annotations

import argparse
import importlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.command import command
from lactok.errors import UserError, disk_errors

# trainer -> what it trains, module, recipe and learner
TRAINERS = {
    "vae": ("the VAE of latents (diffusers' AutoencoderKL)", "lactok.training.vae", "VAERecipe", "VAELearner"),
    "ldm": ("the latent diffusion model, without text", "lactok.training.ldm", "LDMRecipe", "LDMLearner"),
    "accelerate": ("its few-step LoRA", "lactok.training.accelerate", "AccelerateRecipe", "AccelerateLearner"),
    "lactok": ("LaCTok's copy of the UNet, either stage", "lactok.training.lactok", "LaCTokRecipe", "LaCTokLearner"),
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m lactok.train", description="Train a model of this project.")
    trainers = root.add_subparsers(dest="trainer", required=True)
    for name, text in [("vq", "a VQ tokenizer (LlamaGen's classes)"), *((k, v[0]) for k, v in TRAINERS.items())]:
        sub = trainers.add_parser(name, help=text)
        sub.add_argument("--config", required=True, help="a recipe, see lactok/training/configs/")
        sub.add_argument(
            "--data",
            help="instead of the recipe's: a folder of photographs or of webdataset shards, or a pattern of shards",
        )
        sub.add_argument("--out", default=f"training-runs/{name}", help="checkpoint, curve and weights (%(default)s)")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value"
        )
        sub.add_argument("--device", default="cpu")
    whole = trainers.add_parser("assemble", help="LaCTok's trained copy and all it needs as one file of weights")
    whole.add_argument("--config", required=True, help="the recipe that trained the copy")
    whole.add_argument("--copy", required=True, help="what the trainer wrote as NAME.safetensors")
    whole.add_argument("--out", required=True, help="the file, for example weights/lactok-h.safetensors")
    whole.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value")
    whole.set_defaults(device="cpu", data=None)
    return root


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says instead of the recipe: {"vae": {"scaling": 0.5}} for `--set vae.scaling=0.5`.

    Raises:
        UserError: not KEY=VALUE.
    """
    tree: dict[str, Any] = {"data": args.data} if args.data else {}
    for text in args.set:
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
    overrides = changes(args)
    if args.trainer == "assemble":
        from lactok.training.assemble import assemble
        from lactok.training.lactok import LaCTokRecipe

        assemble(common.read_config(args.config, LaCTokRecipe, overrides), args.copy, Path(args.out))
        print(f"wrote {args.out}")
        return 0
    with disk_errors(args.out):
        if args.trainer == "vq":
            from lactok.training.vq import VQTrainer, VQTraining

            VQTrainer(common.read_config(args.config, VQTraining, overrides), Path(args.out), args.device).run()
            return 0
        from lactok.training.processes import accelerator_of
        from lactok.training.trainer import Trainer

        _, module, recipe_kind, learner_kind = TRAINERS[args.trainer]
        parts = importlib.import_module(module)
        recipe = common.read_config(args.config, getattr(parts, recipe_kind), overrides)
        accelerator = accelerator_of(args.device, recipe.precision)
        Trainer(recipe, getattr(parts, learner_kind)(recipe), Path(args.out), accelerator).run()
        accelerator.end_training()
    return 0


if __name__ == "__main__":
    main()
