"""`python -m lactok.train TRAINER --config FILE [--data DIR] [--out DIR] [--device D]`: the trainers."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.command import command
from lactok.errors import disk_errors

# trainer -> recipe and learner, "module:attribute" each
TRAINERS = {
    "vae": (
        "the VAE of latents (diffusers' AutoencoderKL)",
        "lactok.training.vae:VAERecipe",
        "lactok.training.vae:VAELearner",
    ),
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m lactok.train", description="Train a model of this project.")
    trainers = root.add_subparsers(dest="trainer", required=True)
    for name, text in [("vq", "a VQ tokenizer (LlamaGen's classes)"), *((k, v[0]) for k, v in TRAINERS.items())]:
        sub = trainers.add_parser(name, help=text)
        sub.add_argument("--config", required=True, help="a recipe, see lactok/training/configs/")
        sub.add_argument("--data", help="folder of photographs, instead of the recipe's")
        sub.add_argument("--out", default=f"training-runs/{name}", help="checkpoint, curve and weights (%(default)s)")
        sub.add_argument("--device", default="cpu")
    return root


def _attribute(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok.device import check_device
    from lactok.training import common

    check_device(args.device)
    overrides = {"data": args.data} if args.data else {}
    with disk_errors(args.out):
        if args.trainer == "vq":
            from lactok.training.vq import VQTrainer, VQTraining

            VQTrainer(common.read_config(args.config, VQTraining, overrides), Path(args.out), args.device).run()
            return 0
        from accelerate import Accelerator

        from lactok.training.trainer import Trainer

        _, recipe_kind, learner_kind = TRAINERS[args.trainer]
        recipe = common.read_config(args.config, _attribute(recipe_kind), overrides)
        accelerator = Accelerator(cpu=args.device == "cpu", mixed_precision=recipe.precision)
        Trainer(recipe, _attribute(learner_kind)(recipe), Path(args.out), accelerator).run()
    return 0


if __name__ == "__main__":
    main()
